import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pickSampler, type ScoredSampler } from './sampler-choice.ts';

const scored = (steps: number, noise_scale: number, errors: number[]): ScoredSampler => ({
  sampler: { steps, noise_scale },
  errors,
});

describe('the choice of a sampler', () => {
  it('takes fewer steps where frames can not tell the two apart', () => {
    const ten = scored(10, 0, [0.1, 0.2, 0.3, 0.4]);
    const four = scored(4, 0, [0.12, 0.19, 0.29, 0.41]);
    expect(pickSampler([ten, four])).toEqual(four.sampler);
  });

  it('takes more steps where they are better frame by frame', () => {
    const ten = scored(10, 0, [0.1, 0.2, 0.3, 0.4]);
    const four = scored(4, 0, [0.11, 0.21, 0.31, 0.41]);
    expect(pickSampler([four, ten])).toEqual(ten.sampler);
  });

  it('takes the least error of those with as few steps', () => {
    const noisy = scored(4, 1, [0.2, 0.3, 0.2, 0.4]);
    const quiet = scored(4, 0, [0.2, 0.3, 0.2, 0.1]);
    expect(pickSampler([noisy, quiet])).toEqual(quiet.sampler);
  });

  it('never takes one whose error is surely higher, nor more steps than the best has', () => {
    const errors = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), {
      minLength: 8,
      maxLength: 8,
    });
    const candidates = fc.array(fc.tuple(fc.integer({ min: 2, max: 20 }), errors), {
      minLength: 1,
      maxLength: 6,
    });
    const mean = (values: readonly number[]): number =>
      values.reduce((sum, value) => sum + value, 0) / values.length;
    fc.assert(
      fc.property(candidates, (drawn) => {
        const all = drawn.map(([steps, each], i) => scored(steps, i, each));
        const picked = pickSampler(all);
        const own = all[picked.noise_scale] as ScoredSampler;
        const least = all.reduce((a, b) => (mean(b.errors) < mean(a.errors) ? b : a));
        expect(picked.steps).toBeLessThanOrEqual(least.sampler.steps);
        const excess = own.errors.map((error, i) => error - (least.errors[i] as number));
        const spread = Math.sqrt(
          excess.reduce((sum, value) => sum + (value - mean(excess)) ** 2, 0) /
            (excess.length - 1) /
            excess.length,
        );
        expect(mean(excess)).toBeLessThanOrEqual(spread + 1e-12);
      }),
    );
  });

  it('refuses nothing to choose from, and other frames', () => {
    expect(() => pickSampler([])).toThrow(RangeError);
    expect(() => pickSampler([scored(4, 0, [])])).toThrow(RangeError);
    expect(() => pickSampler([scored(4, 0, [1]), scored(5, 0, [1, 2])])).toThrow(RangeError);
  });
});
