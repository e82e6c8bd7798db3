import type { BaseModel } from '@armature/policy/checkpoint';
import type { AdamWOptions, Engine, Value, Values } from '@armature/policy/engine';
import {
  elements,
  flatLayout,
  type FlatLayout,
  flatParts,
  type ParamSpec,
} from '@armature/policy/nn';
import {
  concat,
  conv1d,
  conv2d,
  gemm,
  Graph,
  gradients,
  matmul,
  mul,
  reduceSum,
  reshape,
  slice,
  sumRows,
  type Tensor,
  toOnnx,
} from '@armature/policy/tensor';
import { adamW, stepScalarInputs } from '@armature/policy/train';
import type { Compared, Figure } from '../../result.ts';
import { quantile, timed } from '../../timing.ts';

const [TURNS, CALLS] = [6, 4];
const OPTIMISER: AdamWOptions = { beta1: 0.9, beta2: 0.98, eps: 1e-8, weightDecay: 0.01, clip: 1 };
/** Pictures of a batch, cells of the stem's grid and its channels. */
const [PICTURES, SIDE, CHANNELS] = [32, 16, 64];
/** Activations of so many layers are summed up in a call. */
const LAYERS = 12;
/** Chunks of a batch, positions of the decoder's inner level and its channels. */
const SEQUENCES = [256, 8, 192] as const;

/** One way of building the same thing. */
interface Way {
  readonly graph: Graph;
  /** Inputs that come with every call; the others lie in the engine. */
  readonly fed: ReadonlySet<string>;
  /** The inputs are weights of this layout, which the engine moves by the gradients that come out. */
  readonly descends?: FlatLayout;
}

/**
 * What single choices in how graphs are built and run bring: each beside what it replaced, on its own, by
 * turns. A ratio is the other way's time over that of the way taken.
 */
export async function whatChangesBring(
  engine: Engine,
  base: BaseModel,
  quick: boolean,
): Promise<Compared> {
  const specs = [...base.trunkSpecs, ...base.headSpecs];
  const none = new Set<string>();
  const changes: Record<string, { taken: [string, Way]; other: [string, Way] }> = {
    optimiser: {
      taken: [
        'one pass of its own',
        { graph: slopes(specs), fed: none, descends: flatLayout(specs) },
      ],
      other: ['one flat vector in the graph', { graph: flatOptimiser(specs), fed: none }],
    },
    'optimiser in the graph': {
      taken: ['one flat vector', { graph: flatOptimiser(specs), fed: none }],
      other: ['a tensor each', { graph: optimiserByTensor(specs), fed: none }],
    },
    'convolution of the stem with its gradients': {
      taken: ['tiles', { graph: convolution('tiles'), fed: none }],
      other: ['windows', { graph: convolution('windows'), fed: none }],
    },
    'windows of the stem': {
      taken: ['windows', { graph: convolution('windows'), fed: none }],
      other: ['Conv and ConvTranspose', { graph: convolution('Conv'), fed: none }],
    },
    'convolution of the decoder with its gradients': {
      taken: ['tiles', { graph: sequences('tiles'), fed: none }],
      other: ['windows', { graph: sequences('windows'), fed: none }],
    },
    'sums over rows': {
      taken: ['in shares', { graph: overRows(sumRows), fed: none }],
      other: ['as one product', { graph: overRows(summedAtOnce), fed: none }],
    },
    'products over rows': {
      taken: ['in shares', { graph: overRows(slopeOfProduct), fed: none }],
      other: ['as one product', { graph: overRows(productAtOnce), fed: none }],
    },
    'weights in the engine': {
      taken: ['resident', { graph: readers(specs), fed: none }],
      other: ['with every call', { graph: readers(specs), fed: new Set(specs.map(nameOf)) }],
    },
  };
  const figures: Figure[] = [];
  const ratios: Record<string, number> = {};
  for (const [what, { taken, other }] of Object.entries(changes)) {
    const times = await byTurns(engine, [taken[1], other[1]], quick ? 1 : TURNS);
    const [one, two] = times.map((values) => quantile(values, 0.5)) as [number, number];
    const ratio = two / one;
    figures.push(
      { name: `${what}, ${taken[0]}`, value: one, unit: 'ms' },
      { name: `${what}, ${other[0]}`, value: two, unit: 'ms' },
      { name: `${what}: ${other[0]} over ${taken[0]}`, value: ratio, unit: 'times' },
    );
    ratios[what.replaceAll(' ', '_')] = ratio;
  }
  return { figures, ratios };
}

const nameOf = ({ name }: ParamSpec): string => name;

/** AdamW over all weights as one vector, which the gradients of each tensor are put together for. */
function flatOptimiser(specs: readonly ParamSpec[]): Graph {
  const graph = new Graph('flat');
  const gradient = together(graph, specs);
  optimised(graph, '', gradient, sizeOf(specs), stepScalarInputs(graph));
  return graph;
}

/** Of each tensor a gradient, for the engine to step by. */
function slopes(specs: readonly ParamSpec[]): Graph {
  const graph = new Graph('slopes');
  for (const { name, shape } of specs) {
    graph.output(`gradient.${name}`, mul(graph.input(name, 'float32', shape), 1));
  }
  return graph;
}

const sizeOf = (specs: readonly ParamSpec[]): number =>
  specs.reduce((sum, { shape }) => sum + elements(shape), 0);

function together(graph: Graph, specs: readonly ParamSpec[]): Tensor {
  const slopes = specs.map(({ name, shape }) => graph.input(`slope.${name}`, 'float32', shape));
  const gradient = concat(
    slopes.map((slope) => reshape(slope, [-1])),
    0,
  );
  return reshape(gradient, [sizeOf(specs)]);
}

function optimiserByTensor(specs: readonly ParamSpec[]): Graph {
  const graph = new Graph('by tensor');
  const scalars = stepScalarInputs(graph);
  for (const { name, shape } of specs) {
    const size = elements(shape);
    const slope = graph.input(`slope.${name}`, 'float32', shape);
    optimised(graph, `.${name}`, reshape(slope, [size]), size, scalars);
  }
  return graph;
}

function optimised(
  graph: Graph,
  suffix: string,
  gradient: Tensor,
  size: number,
  scalars: ReturnType<typeof stepScalarInputs>,
): void {
  const vector = (name: string): Tensor => graph.input(`${name}${suffix}`, 'float32', [size]);
  const state = { theta: vector('theta'), m: vector('m'), v: vector('v'), ema: vector('ema') };
  const next = adamW(state, gradient, vector('decay'), scalars, OPTIMISER);
  for (const name of ['theta', 'm', 'v', 'ema'] as const) {
    graph.output(`next_${name}${suffix}`, next[name]);
  }
}

/** 3×3 over the grid of the stem, with the gradients to its input and its weight. */
function convolution(way: 'tiles' | 'windows' | 'Conv'): Graph {
  const layout = way === 'Conv' ? 'NCHW' : 'NHWC';
  const shapes = {
    NHWC: [
      [PICTURES, SIDE, SIDE, CHANNELS],
      [3, 3, CHANNELS, CHANNELS],
    ],
    NCHW: [
      [PICTURES, CHANNELS, SIDE, SIDE],
      [CHANNELS, CHANNELS, 3, 3],
    ],
  } as const;
  return withGradients(way, shapes[layout], (x, w) => conv2d(x, w, { padding: 1, layout }));
}

/** Kernel 5 over the inner level of the decoder, likewise. */
function sequences(way: 'tiles' | 'windows'): Graph {
  const shapes = [SEQUENCES, [5, SEQUENCES[2], SEQUENCES[2]]] as const;
  return withGradients(way, shapes, (x, w) => conv1d(x, w, { padding: 2 }));
}

/** Layers whose activations, of the stem's size, are summed up for a gradient to a bias or a weight. */
function overRows(make: (x: Tensor) => Tensor): Graph {
  const graph = new Graph(make.name);
  for (let layer = 0; layer < LAYERS; layer++) {
    const x = graph.input(`x${layer}`, 'float32', [PICTURES * SIDE * SIDE, CHANNELS]);
    graph.output(`sum${layer}`, make(x));
  }
  return graph;
}

function summedAtOnce(x: Tensor): Tensor {
  const count = PICTURES * SIDE * SIDE;
  return gemm(x.graph.constant(1, [1, count]), x);
}

function slopeOfProduct(x: Tensor): Tensor {
  const weight = x.graph.constant(1, [CHANNELS, CHANNELS]);
  const [slope] = gradients({ of: matmul(x, weight), upstream: x }, [weight]);
  if (slope === undefined) throw new Error('a product has a gradient to its second factor');
  return slope;
}

function productAtOnce(x: Tensor): Tensor {
  return gemm(x, x, { transA: true });
}

function withGradients(
  way: 'tiles' | 'windows' | 'Conv',
  [images, kernel]: readonly [readonly number[], readonly number[]],
  make: (x: Tensor, w: Tensor) => Tensor,
): Graph {
  // A graph that is said to run forward alone takes no tiles.
  const graph = new Graph(way, undefined, { inference: way === 'windows' });
  const inputs = [
    graph.input('x', 'float32', images),
    graph.input('w', 'float32', kernel),
  ] as const;
  const y = make(...inputs);
  gradients(reduceSum(mul(y, y)), inputs).forEach((gradient, i) => {
    graph.output(`gradient${i}`, gradient);
  });
  return graph;
}

/** Reads an element of each weight: what is timed is how they get there. */
function readers(specs: readonly ParamSpec[]): Graph {
  const graph = new Graph('readers');
  const first = specs.map(({ name, shape }) =>
    slice(reshape(graph.input(name, 'float32', shape), [elements(shape)]), 0, 0, 1),
  );
  graph.output('sum', reduceSum(concat(first, 0)));
  return graph;
}

/** Milliseconds of the calls of each way; results stay in the engine. */
async function byTurns(
  engine: Engine,
  ways: readonly Way[],
  turns: number,
): Promise<readonly number[][]> {
  const times = ways.map((): number[] => []);
  const calls: (() => Promise<unknown>)[] = [];
  for (const [i, { graph, fed, descends }] of ways.entries()) {
    const id = `change ${i}`;
    const values = graph.inputs.map(({ name, tensor }) => [name, valuesOf(tensor.shape)] as const);
    const pick = (isFed: boolean): Values =>
      Object.fromEntries(values.filter(([name]) => fed.has(name) === isFed));
    const [feeds, lying] = [pick(true), pick(false)];
    await engine.load(id, toOnnx(graph));
    if (descends !== undefined) {
      calls.push(await descending(engine, id, descends));
      continue;
    }
    await engine.put(id, lying);
    const resident = Object.fromEntries(Object.keys(lying).map((name) => [name, `${id}/${name}`]));
    const store = Object.fromEntries(
      graph.outputs.map(({ name }) => [name, `${id} results/${name}`]),
    );
    calls.push(() => engine.run(id, feeds, { resident, store }));
  }
  for (let turn = 0; turn < turns; turn++) {
    for (const [i, call] of calls.entries()) times[i]?.push(...(await timed(CALLS, 1, call)));
  }
  for (const i of ways.keys()) {
    await engine.unload(`change ${i}`);
    await engine.drop(`change ${i}`);
    await engine.drop(`change ${i} results`);
    await engine.drop(`change ${i} weights`);
  }
  return times;
}

async function descending(
  engine: Engine,
  id: string,
  layout: FlatLayout,
): Promise<() => Promise<unknown>> {
  const [theta, none] = [new Float32Array(layout.size).fill(0.5), new Float32Array(layout.size)];
  const keep = `${id} weights`;
  const start = { theta, ema: theta, m: none, v: none, decay: none };
  await engine.hold(keep, start, flatParts(layout, layout.specs));
  let t = 0;
  return () => {
    const optimiser = { ...OPTIMISER, learningRate: 1e-3, emaDecay: 0.99, t: (t += 1) };
    return engine.descend(id, {}, { keep, optimiser });
  };
}

function valuesOf(shape: readonly number[]): Value {
  const data = Float32Array.from({ length: elements(shape) }, (_, i) => 0.5 + 0.4 * Math.sin(i));
  return { dtype: 'float32', shape, data };
}
