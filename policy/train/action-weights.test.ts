import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { actionWeights } from './action-weights.ts';

const figures = (scales: readonly number[]) => ({
  action: scales.map((scale) => ({
    reference: 'state' as const,
    joint: 0,
    centre: 0,
    scale,
    scale_without_command: scale,
  })),
});

describe('weights of actions in the loss', () => {
  it('turn an error in the decoder’s units into one in standard deviations', () => {
    const scales = [0.5, 2, 0.1];
    const std = [1, 0.5, 0.2];
    const weights = actionWeights(figures(scales), std, 2);
    const errors = [0.03, -0.2, 0.4];
    const inStd = errors.map((e, a) => ((e * (scales[a] as number)) / (std[a] as number)) ** 2);
    const factor = (inStd[0] as number) / ((weights[0] as number) * 0.03 ** 2);
    errors.forEach((e, a) => {
      expect((weights[a] as number) * e ** 2 * factor).toBeCloseTo(inStd[a] as number, 5);
    });
  });

  it('have mean 1, and are all 1 without strength', () => {
    const positive = fc.double({ min: 1e-3, max: 1e3, noNaN: true });
    const rows = fc.array(fc.tuple(positive, positive), { minLength: 1, maxLength: 32 });
    fc.assert(
      fc.property(rows, (pairs) => {
        const normalisation = figures(pairs.map(([scale]) => scale));
        const std = pairs.map(([, spread]) => spread);
        const weights = actionWeights(normalisation, std, 1);
        const mean = weights.reduce((sum, weight) => sum + weight, 0) / weights.length;
        expect(mean).toBeCloseTo(1, 4);
        expect([...actionWeights(normalisation, std, 0)].every((w) => w === 1)).toBe(true);
      }),
    );
  });

  it('stay finite for a dimension that never moves', () => {
    expect([...actionWeights(figures([1, 1]), [0, 1], 1)]).toEqual([1, 1]);
  });

  it('are not taken over by a dimension that only jitters', () => {
    const [left, right, jitter] = actionWeights(figures([0.5, 0.5, 1e-3]), [0.4, 0.5, 2e-7], 1);
    expect(left).toBeGreaterThan(0.2);
    expect(right).toBeGreaterThan(0.2);
    expect(jitter).toBeLessThan(3);
  });

  it('need a spread of every dimension', () => {
    expect(() => actionWeights(figures([1, 1]), [1], 1)).toThrow(RangeError);
  });
});
