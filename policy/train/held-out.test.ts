import { expect, it } from 'vitest';
import { squaredError } from './held-out.ts';

it('counts errors in standard deviations, of what moved in training alone', () => {
  const recorded = Float32Array.of(1, 5, 2, 5);
  const predicted = Float32Array.of(1.5, 5.25, 1, 4, 9, 9);
  // Of the first dimension: 0.5 and 1, in deviations of a half; the second stood still.
  expect(squaredError(predicted, recorded, [0.5, 0])).toBeCloseTo((1 + 4) / 2, 6);
  expect(squaredError(predicted, recorded, [0.5, 1])).toBeCloseTo((1 + 0.0625 + 4 + 1) / 4, 6);
  expect(squaredError(predicted, recorded, [0, 0])).toBe(0);
});
