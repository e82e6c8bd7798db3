import { afterAll, beforeAll, expect, it } from 'vitest';
import { readFixture, readFixtureJson } from '../../test/support/fixtures.ts';
import { hold, holdClose, largestDifference } from '../../test/support/parity.ts';
import { readSafetensors, toFloat32, type SafeTensor } from '../checkpoint/index.ts';
import { ddimStep } from '../decoders/ddim.ts';
import { Engine } from '../engine/index.ts';
import { Graph, slice, toOnnx } from '../tensor/index.ts';
import { nano } from './config.ts';
import { SAMPLER_COLUMNS, alphasCumprod, samplerTable } from './diffusion.ts';
import { addNoise, predictionTarget } from './model.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1 });
});
afterAll(async () => {
  await engine.close();
});

interface Meta {
  train_steps: number;
  clip_sample_range: number;
  cases: {
    name: string;
    scheduler: string;
    prediction_type: 'epsilon' | 'sample' | 'v_prediction';
    inference_steps: number;
    timesteps: number[];
  }[];
}

const meta = (await readFixtureJson('diffusion', 'schedulers.json')) as Meta;
const { tensors } = readSafetensors(await readFixture('diffusion', 'schedulers.safetensors'));
const stored = (name: string): SafeTensor => {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new RangeError(`the fixture has no ${name}`);
  return tensor;
};
const data = (name: string): Float32Array => toFloat32(stored(name));

/** The fixture's tables and chains are float32. */
const TOLERANCE = 2e-5;
const LABEL = { fixture: 'diffusion/schedulers' };

it('the cumulative product of alphas is the reference schedule', () => {
  const expected = data('alphas_cumprod');
  const got = alphasCumprod(meta.train_steps);
  const error = largestDifference(got, expected);
  hold({ ...LABEL, quantity: 'schedule', detail: 'alphas_cumprod', error, tolerance: TOLERANCE });
});

it('noise is added, and the velocity found, as the reference does', async () => {
  const { shape } = stored('add_noise.x0');
  const steps = Array.from(stored('add_noise.t').data, Number);
  const bars = alphasCumprod(meta.train_steps);
  const graph = new Graph('noise');
  const [clean, noise] = [
    graph.input('clean', 'float32', shape),
    graph.input('noise', 'float32', shape),
  ];
  const level = (of: (bar: number) => number) =>
    graph.constant(
      Float32Array.from(steps, (t) => Math.sqrt(of(bars[t] ?? NaN))),
      [steps.length, 1, 1],
    );
  const [root, rest] = [level((bar) => bar), level((bar) => 1 - bar)];
  const diffusion = { ...nano.diffusion, prediction: 'v_prediction' } as const;
  graph.output('y', addNoise(clean, noise, root, rest));
  graph.output('velocity', predictionTarget({ ...nano, diffusion }, clean, noise, root, rest));
  await engine.load('noise', toOnnx(graph));
  const got = await engine.run('noise', {
    clean: { dtype: 'float32', shape, data: data('add_noise.x0') },
    noise: { dtype: 'float32', shape, data: data('add_noise.noise') },
  });
  for (const name of ['y', 'velocity']) {
    holdClose(
      { ...LABEL, quantity: 'add_noise', detail: name },
      got[name],
      { shape, data: data(`add_noise.${name}`) },
      TOLERANCE,
    );
  }
});

const cases = meta.cases.filter((c) => c.scheduler === 'DDIM');

it('the fixture has chains of all three predictions', () => {
  expect(new Set(cases.map((c) => c.prediction_type)).size).toBe(3);
});

it.each(cases)(
  'DDIM follows the reference chain: $name',
  async ({ name, inference_steps: steps, timesteps, prediction_type: prediction }) => {
    const options = { prediction, clip: meta.clip_sample_range } as const;
    const table = samplerTable(steps, meta.train_steps);
    const outputs = data(`${name}.model_output`);
    const chain = data(`${name}.x`);
    const cleaned = data(`${name}.pred_x0`);
    const size = chain.length / (steps + 1);
    const error = { chain: 0, pred_x0: 0 };
    const graph = new Graph('step');
    const x = graph.input('x', 'float32', [size]);
    const predicted = graph.input('predicted', 'float32', [size]);
    const row = graph.input('row', 'float32', [SAMPLER_COLUMNS]);
    const column = (i: number) => slice(row, 0, i, i + 1);
    const levels = {
      root: column(1),
      rest: column(2),
      rootBefore: column(3),
      restBefore: column(4),
    };
    graph.output('next', ddimStep(x, predicted, levels, options));
    const watched = ddimStep(x, predicted, levels, options, (clean) => {
      graph.output('clean', clean);
      return clean;
    });
    graph.output('watched', watched);
    await engine.load(name, toOnnx(graph));
    for (let i = 0; i < steps; i++) {
      const columns = table.slice(i * SAMPLER_COLUMNS, (i + 1) * SAMPLER_COLUMNS);
      expect(columns[0]).toBe(timesteps[i]);
      const f32 = (values: Float32Array) =>
        ({ dtype: 'float32', shape: [values.length], data: values }) as const;
      const made = await engine.run(name, {
        x: f32(chain.slice(i * size, (i + 1) * size)),
        predicted: f32(outputs.slice(i * size, (i + 1) * size)),
        row: f32(columns),
      });
      const off = (output: string, expected: Float32Array): number =>
        largestDifference(made[output]?.data ?? [], expected);
      const after = chain.slice((i + 1) * size, (i + 2) * size);
      error.chain = Math.max(error.chain, off('next', after), off('watched', after));
      const expected = cleaned.slice(i * size, (i + 1) * size);
      error.pred_x0 = Math.max(error.pred_x0, off('clean', expected));
    }
    for (const quantity of ['chain', 'pred_x0'] as const) {
      hold({ ...LABEL, quantity, detail: name, error: error[quantity], tolerance: TOLERANCE });
    }
  },
);

it('refuses more steps than the table holds', () => {
  expect(() => samplerTable(21, 100, 20)).toThrow(RangeError);
  expect(() => samplerTable(0, 100)).toThrow(RangeError);
});
