import { describe, expect, it } from 'vitest';
import { initialValues, type ParamSpec } from '../nn/params.ts';
import { softened } from './softened.ts';

const spec: ParamSpec = {
  name: 'trunk.stem.first.weight',
  shape: [64, 64],
  init: { kind: 'normal', std: 2 },
  decay: true,
};
const trained = initialValues({ ...spec, init: { kind: 'uniform', bound: 1 } }, 5);

describe('softened', () => {
  it('is the trained weights at one and the fresh ones at zero', () => {
    expect(softened(spec, trained, 1, 3)).toEqual(trained);
    expect(softened(spec, trained, 0, 3)).toEqual(initialValues(spec, 3));
  });

  it('lies between them by its share, the same for the same seed', () => {
    const mixed = softened(spec, trained, 0.25, 3);
    const far = softened(spec, trained, 0, 3);
    // Variances of independent parts add: (0.25²)/3 + (0.75·2)².
    const variance = mixed.reduce((sum, value) => sum + value * value, 0) / mixed.length;
    expect(variance).toBeGreaterThan(2);
    expect(variance).toBeLessThan(2.6);
    mixed.forEach((value, i) => {
      expect(
        (value - (far[i] as number)) / ((trained[i] as number) - (far[i] as number)),
      ).toBeCloseTo(0.25, 1);
    });
    expect(softened(spec, trained, 0.25, 3)).toEqual(mixed);
    expect(softened(spec, trained, 0.25, 4)).not.toEqual(mixed);
  });

  it('refuses a share outside 0 to 1', () => {
    expect(() => softened(spec, trained, 1.1, 3)).toThrow(RangeError);
    expect(() => softened(spec, trained, Number.NaN, 3)).toThrow(RangeError);
  });
});
