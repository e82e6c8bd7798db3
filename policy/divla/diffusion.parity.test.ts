import { expect, it } from 'vitest';
import { readFixture, readFixtureJson } from '../../test/support/fixtures.ts';
import { readSafetensors, toFloat32 } from '../checkpoint/index.ts';
import { SAMPLER_COLUMNS, alphasCumprod, samplerTable } from './diffusion.ts';

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

it('the cumulative product of alphas is the reference schedule', () => {
  const expected = data('alphas_cumprod');
  const got = alphasCumprod(meta.train_steps);
  got.forEach((value, i) => {
    expect(Math.abs(value - (expected[i] ?? NaN))).toBeLessThan(TOLERANCE);
  });
});

it.each(meta.cases.filter((c) => c.scheduler === 'DDIM' && c.name.endsWith('.epsilon')))(
  'DDIM follows the reference chain: $name',
  ({ name, inference_steps: steps, timesteps }) => {
    const table = samplerTable(steps, meta.train_steps);
    const noise = data(`${name}.model_output`);
    const chain = data(`${name}.x`);
    const size = chain.length / (steps + 1);
    for (let i = 0; i < steps; i++) {
      const [t, root, rest, rootBefore, restBefore] = Array.from(
        table.subarray(i * SAMPLER_COLUMNS, (i + 1) * SAMPLER_COLUMNS),
      ) as [number, number, number, number, number];
      expect(t).toBe(timesteps[i]);
      for (let k = 0; k < size; k++) {
        const eps = noise[i * size + k] as number;
        const clean = ((chain[i * size + k] as number) - rest * eps) / root;
        const clipped = Math.max(-meta.clip_sample_range, Math.min(meta.clip_sample_range, clean));
        const next = rootBefore * clipped + restBefore * eps;
        expect(Math.abs(next - (chain[(i + 1) * size + k] as number))).toBeLessThan(TOLERANCE);
      }
    }
  },
);

it('refuses more steps than the table holds', () => {
  expect(() => samplerTable(21, 100, 20)).toThrow(RangeError);
  expect(() => samplerTable(0, 100)).toThrow(RangeError);
});
