import { afterAll, beforeAll, expect, it } from 'vitest';
import { readFixture, readFixtureJson } from '../../test/support/fixtures.ts';
import { hold, largestDifference } from '../../test/support/parity.ts';
import { readSafetensors, toFloat32 } from '../checkpoint/index.ts';
import { ddimStep } from '../decoders/ddim.ts';
import { Engine } from '../engine/index.ts';
import { Graph, slice, toOnnx } from '../tensor/index.ts';
import { SAMPLER_COLUMNS, alphasCumprod, samplerTable } from './diffusion.ts';

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
  cases: { name: string; scheduler: string; inference_steps: number; timesteps: number[] }[];
}

const meta = (await readFixtureJson('diffusion', 'schedulers.json')) as Meta;
const { tensors } = readSafetensors(await readFixture('diffusion', 'schedulers.safetensors'));
const data = (name: string): Float32Array => {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new RangeError(`the fixture has no ${name}`);
  return toFloat32(tensor);
};

/** The fixture's tables and chains are float32. */
const TOLERANCE = 2e-5;
const LABEL = { fixture: 'diffusion/schedulers' };

it('the cumulative product of alphas is the reference schedule', () => {
  const expected = data('alphas_cumprod');
  const got = alphasCumprod(meta.train_steps);
  const error = largestDifference(got, expected);
  hold({ ...LABEL, quantity: 'schedule', detail: 'alphas_cumprod', error, tolerance: TOLERANCE });
});

const cases = meta.cases.filter(
  (c) => c.scheduler === 'DDIM' && /\.(epsilon|v_prediction)$/.test(c.name),
);

it('the fixture has chains of both predictions', () => {
  expect(cases.length).toBeGreaterThanOrEqual(2);
});

it.each(cases)(
  'DDIM follows the reference chain: $name',
  async ({ name, inference_steps: steps, timesteps }) => {
    const prediction = name.endsWith('.epsilon') ? 'epsilon' : 'v_prediction';
    const options = { prediction, clip: meta.clip_sample_range } as const;
    const table = samplerTable(steps, meta.train_steps);
    const outputs = data(`${name}.model_output`);
    const chain = data(`${name}.x`);
    const size = chain.length / (steps + 1);
    let error = 0;
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
    await engine.load(name, toOnnx(graph));
    for (let i = 0; i < steps; i++) {
      const columns = table.slice(i * SAMPLER_COLUMNS, (i + 1) * SAMPLER_COLUMNS);
      expect(columns[0]).toBe(timesteps[i]);
      const f32 = (values: Float32Array) =>
        ({ dtype: 'float32', shape: [values.length], data: values }) as const;
      const { next } = await engine.run(name, {
        x: f32(chain.slice(i * size, (i + 1) * size)),
        predicted: f32(outputs.slice(i * size, (i + 1) * size)),
        row: f32(columns),
      });
      const got = next?.data;
      if (!(got instanceof Float32Array)) throw new RangeError('the step gave nothing');
      const expected = chain.slice((i + 1) * size, (i + 2) * size);
      error = Math.max(error, largestDifference(got, expected));
    }
    hold({ ...LABEL, quantity: 'chain', detail: name, error, tolerance: TOLERANCE });
  },
);

it('refuses more steps than the table holds', () => {
  expect(() => samplerTable(21, 100, 20)).toThrow(RangeError);
  expect(() => samplerTable(0, 100)).toThrow(RangeError);
});
