import type { Engine, Value, Values } from '../../policy/engine/index.ts';
import { flatLayout, flatten, packFlat, slicedParams, unpackFlat } from '../../policy/nn/flat.ts';
import type { Params, ParamSpec } from '../../policy/nn/params.ts';
import { Graph, gradients, toOnnx, type Tensor } from '../../policy/tensor/index.ts';
import { adamW, stepScalarInputs } from '../../policy/train/optimiser.ts';

/** Training as a reference did it: the house's AdamW at one rate, without clipping. */
export interface Training {
  readonly learningRate: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  readonly steps: number;
  /** The parameters that move. */
  readonly specs: readonly ParamSpec[];
  /** The loss; every other parameter is a graph input of its name. */
  loss(graph: Graph, params: Params): Tensor;
  start(name: string): Float32Array;
  /** The batch of each step, frozen parameters included. */
  feeds(step: number): Values;
}

/** The loss before each step, and the weights after the last. */
export async function train(
  engine: Engine,
  training: Training,
): Promise<{ losses: number[]; weights: Map<string, Float32Array> }> {
  const layout = flatLayout(training.specs);
  const graph = new Graph('train');
  const vector = (name: string): Tensor => graph.input(name, 'float32', [layout.size]);
  const state = { theta: vector('theta'), m: vector('m'), v: vector('v'), ema: vector('ema') };
  const { params, tensors } = slicedParams(state.theta, layout, (spec) =>
    graph.input(spec.name, 'float32', spec.shape),
  );
  const loss = training.loss(graph, params);
  const wanted = training.specs.map(({ name }) => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new RangeError(`the loss does not read ${name}`);
    return tensor;
  });
  const next = adamW(
    state,
    flatten(layout, gradients(loss, wanted)),
    vector('decay'),
    stepScalarInputs(graph),
    {
      beta1: training.betas[0],
      beta2: training.betas[1],
      eps: training.eps,
      weightDecay: training.weightDecay,
      clip: Infinity,
    },
  );
  graph.output('loss', loss);
  for (const name of ['theta', 'm', 'v', 'ema'] as const) graph.output(`next_${name}`, next[name]);
  await engine.load('train', toOnnx(graph));
  const flat = (data: Float32Array): Value => ({ dtype: 'float32', shape: [layout.size], data });
  const theta = packFlat(layout, ({ name }) => training.start(name));
  const zero = new Float32Array(layout.size);
  await engine.put('state', { theta: flat(theta), m: flat(zero), v: flat(zero), ema: flat(theta) });
  const scalar = (value: number): Value => ({
    dtype: 'float32',
    shape: [],
    data: Float32Array.of(value),
  });
  const read = new Set(graph.inputs.map(({ name }) => name));
  const losses: number[] = [];
  for (let step = 0; step < training.steps; step += 1) {
    const batch = Object.entries(training.feeds(step)).filter(([name]) => read.has(name));
    const out = await engine.step(
      'train',
      {
        ...Object.fromEntries(batch),
        decay: flat(new Float32Array(layout.size).fill(1)),
        learning_rate: scalar(training.learningRate),
        correction1: scalar(1 / (1 - training.betas[0] ** (step + 1))),
        correction2: scalar(1 / (1 - training.betas[1] ** (step + 1))),
        ema_decay: scalar(0),
      },
      {
        keep: 'state',
        carry: { next_theta: 'theta', next_m: 'm', next_v: 'v', next_ema: 'ema' },
      },
    );
    losses.push(Number(out['loss']?.data[0]));
  }
  const final = await engine.read('state', ['theta']);
  await engine.drop('state');
  await engine.unload('train');
  return { losses, weights: unpackFlat(layout, final['theta']?.data as Float32Array) };
}
