import { afterAll, beforeAll, expect, it } from 'vitest';
import { readFixture, readFixtureJson } from '../../test/support/fixtures.ts';
import { hold, largestDifference } from '../../test/support/parity.ts';
import { readSafetensors, toFloat32 } from '../checkpoint/index.ts';
import { Engine, type Value } from '../engine/index.ts';
import { flatLayout, flatParts, flatten, packFlat, slicedParams, unpackFlat } from '../nn/flat.ts';
import { paramsOf, zeros, type ParamSpec } from '../nn/params.ts';
import { Graph, gradients, linear, mse, silu, toOnnx, type Tensor } from '../tensor/index.ts';
import { adamW, stepScalarInputs } from './optimiser.ts';
import { learningRate } from './schedule.ts';

interface Meta {
  steps: number;
  optimiser: { betas: [number, number]; eps: number; weight_decay: Record<string, number> };
  clip: { max_norm: number };
  schedule: { warmup_steps: number; base_lr: number };
  ema: { decay: number };
  tolerance: Record<string, number>;
}

const CARRIED = ['theta', 'm', 'v', 'ema'] as const;

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1 });
});
afterAll(async () => {
  await engine.close();
});

it.each(['in the graph', 'in the engine'] as const)(
  'AdamW %s, clipping, schedule and moving average follow PyTorch step by step',
  async (where) => {
    const meta = (await readFixtureJson('optim', 'adamw.json')) as Meta;
    const { tensors } = readSafetensors(await readFixture('optim', 'adamw.safetensors'));
    const data = (name: string): Float32Array => {
      const tensor = tensors.get(name);
      if (tensor === undefined) throw new RangeError(`the fixture has no ${name}`);
      return toFloat32(tensor);
    };
    const shape = (name: string): readonly number[] => tensors.get(name)?.shape ?? [];
    const decays = meta.optimiser.weight_decay;
    const specs = Object.keys(decays).map((name): ParamSpec => ({
      name,
      shape: shape(`initial.${name}`),
      init: zeros,
      decay: (decays[name] ?? 0) > 0,
    }));
    const layout = flatLayout(specs);
    const [, batch = 0, inputs = 0] = shape('x');
    const outputs = shape('target')[2] ?? 0;
    const graph = new Graph();
    const vector = (name: string) => graph.input(name, 'float32', [layout.size]);
    const theta = where === 'in the graph' ? vector('theta') : undefined;
    const own = new Map<string, Tensor>();
    const { params, tensors: weights } =
      theta !== undefined
        ? slicedParams(theta, layout, () => {
            throw new RangeError('every parameter is trainable here');
          })
        : {
            params: paramsOf((spec) => {
              const tensor = graph.input(spec.name, 'float32', spec.shape);
              own.set(spec.name, tensor);
              return tensor;
            }),
            tensors: own,
          };
    const at = (name: string) => params.param(name, shape(`initial.${name}`), zeros);
    const hidden = silu(
      linear(graph.input('x', 'float32', [batch, inputs]), at('fc1.weight'), at('fc1.bias')),
    );
    const y = linear(hidden, at('fc2.weight'), at('fc2.bias'));
    const loss = mse(y, graph.input('target', 'float32', [batch, outputs]));
    const wanted = specs.flatMap(({ name }) => weights.get(name) ?? []);
    const optimiser = {
      beta1: meta.optimiser.betas[0],
      beta2: meta.optimiser.betas[1],
      eps: meta.optimiser.eps,
      weightDecay: Math.max(...Object.values(decays)),
      clip: meta.clip.max_norm,
    };
    const slopes = gradients(loss, wanted);
    graph.output('loss', loss);
    if (theta === undefined) {
      slopes.forEach((slope, i) => graph.output(`gradient.${specs[i]?.name ?? ''}`, slope));
    } else {
      const state = { theta, m: vector('m'), v: vector('v'), ema: vector('ema') };
      const flat = flatten(layout, slopes);
      const next = adamW(state, flat, vector('decay'), stepScalarInputs(graph), optimiser);
      graph.output('gradient_norm', next.norm);
      for (const name of CARRIED) graph.output(`next_${name}`, next[name]);
    }
    await engine.load('optim', toOnnx(graph));

    const flat = (values: Float32Array): Value => ({
      dtype: 'float32',
      shape: [values.length],
      data: values,
    });
    const scalar = (value: number): Value => ({
      dtype: 'float32',
      shape: [],
      data: Float32Array.of(value),
    });
    const start = packFlat(layout, ({ name }) => data(`initial.${name}`));
    const zero = new Float32Array(layout.size);
    const decay = packFlat(layout, (spec) =>
      new Float32Array(spec.shape.reduce((a, b) => a * b, 1)).fill(spec.decay ? 1 : 0),
    );
    if (where === 'in the engine') {
      await engine.hold(
        'state',
        { theta: start, m: zero, v: zero, ema: start, decay },
        flatParts(layout, specs),
      );
    } else {
      await engine.put('state', {
        theta: flat(start),
        m: flat(zero),
        v: flat(zero),
        ema: flat(start),
      });
    }
    const tolerance = Math.max(...Object.values(meta.tolerance));
    for (let step = 0; step < meta.steps; step++) {
      const slice = (name: string, size: number): Value => ({
        dtype: 'float32',
        shape: [batch, size],
        data: data(name).slice(step * batch * size, (step + 1) * batch * size),
      });
      const rate = learningRate(step, {
        peak: meta.schedule.base_lr,
        warmup: meta.schedule.warmup_steps,
        total: meta.steps,
        floor: 0,
      });
      const seen = { x: slice('x', inputs), target: slice('target', outputs) };
      const t = step + 1;
      const out =
        where === 'in the engine'
          ? await engine.descend('optim', seen, {
              keep: 'state',
              optimiser: { ...optimiser, learningRate: rate, emaDecay: meta.ema.decay, t },
            })
          : await engine.step(
              'optim',
              {
                ...seen,
                decay: flat(decay),
                learning_rate: scalar(rate),
                correction1: scalar(1 / (1 - optimiser.beta1 ** t)),
                correction2: scalar(1 / (1 - optimiser.beta2 ** t)),
                ema_decay: scalar(meta.ema.decay),
              },
              {
                keep: 'state',
                carry: Object.fromEntries(CARRIED.map((name) => [`next_${name}`, name])),
              },
            );
      expect(rate).toBeCloseTo(data('lr')[step] ?? NaN, 6);
      for (const [output, name] of [
        ['loss', 'loss'],
        ['gradient_norm', 'grad_norm'],
      ] as const) {
        const error = Math.abs(Number(out[output]?.data[0]) - (data(name)[step] ?? NaN));
        hold({ fixture: 'optim', quantity: name, detail: `step ${step}`, error, tolerance });
      }
    }
    const final = await engine.read('state');
    await engine.unload('optim');
    for (const [key, prefix] of [
      ['theta', 'final'],
      ['m', 'exp_avg'],
      ['v', 'exp_avg_sq'],
      ['ema', 'ema'],
    ] as const) {
      const values = unpackFlat(layout, final[key]?.data as Float32Array);
      for (const { name } of specs) {
        const expected = data(`${prefix}.${name}`);
        const got = values.get(name) ?? new Float32Array();
        const error = largestDifference(got, expected);
        hold({ fixture: 'optim', quantity: prefix, detail: name, error, tolerance });
      }
    }
  },
);
