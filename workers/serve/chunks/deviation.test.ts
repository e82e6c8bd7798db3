import { describe, expect, it } from 'vitest';
import { armSpec } from '../testing/robots.ts';
import { deviationOf } from './deviation.ts';

describe('deviationOf', () => {
  const spec = armSpec();

  it('is the mean share of the joints’ ranges', () => {
    // Ranges of 6 rad: 0.6 is a tenth of one, 0 of the other.
    const value = deviationOf(spec, Float32Array.of(0.6, 1), Float32Array.of(0, 1));
    expect(value).toBeCloseTo(0.05, 6);
    expect(deviationOf(spec, Float32Array.of(1, 1), Float32Array.of(1, 1))).toBe(0);
  });

  it('leaves out joints that are not measured, or in another unit', () => {
    const state = [
      { name: 'elbow', unit: 'rad' },
      { name: 'shoulder', unit: 'deg' },
    ] as const;
    const of = (measured: Float32Array) =>
      deviationOf({ ...spec, state: [...state] }, Float32Array.of(3, 0.3), measured);
    expect(of(Float32Array.of(0, 100))).toBeCloseTo(0.05, 6);
    expect(
      deviationOf({ ...spec, state: [state[1]] }, Float32Array.of(3, 3), Float32Array.of(1)),
    ).toBeUndefined();
  });
});
