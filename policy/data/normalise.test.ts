import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { smallEpisodes, smallSpec } from '../../test/support/small-policy.ts';
import {
  decodeActions,
  encodeActions,
  encodeState,
  fitNormalisation,
  stateJoints,
} from './normalise.ts';

describe('normalisation', () => {
  it.each(['absolute', 'state', 'last_command'] as const)(
    'decodes what it encodes, relative to %s',
    (reference) => {
      const spec = smallSpec(3, { reference });
      const figures = fitNormalisation(spec, smallEpisodes(spec, 4));
      const value = fc.double({ min: -0.2, max: 0.2, noNaN: true });
      const vector = fc.array(value, { minLength: 3, maxLength: 3 });
      fc.assert(
        fc.property(vector, vector, fc.boolean(), (felt, asked, known) => {
          const state = Float32Array.from(felt);
          const command = known ? Float32Array.from(asked) : undefined;
          const chunk = Float32Array.from(
            { length: 16 * 3 },
            (_, i) => (felt[i % 3] ?? 0) + i / 500,
          );
          const out = new Float32Array(16 * 32);
          encodeActions(figures, chunk, 0, 16, state, command, out, 0, 32, 1e6);
          const back = decodeActions(figures, out, 0, 16, 32, state, command);
          back.forEach((got, i) => {
            expect(got).toBeCloseTo(chunk[i] as number, 4);
          });
        }),
      );
    },
  );

  it('bounds what lies outside, and pads states with zeros', () => {
    const spec = smallSpec(2);
    const figures = fitNormalisation(spec, smallEpisodes(spec, 4));
    const out = new Float32Array(16 * 32);
    const far = new Float32Array(32).fill(1e3);
    encodeActions(figures, far, 0, 16, new Float32Array(2), undefined, out, 0, 32, 1.3);
    expect(Math.max(...out)).toBeCloseTo(1.3, 6);
    const state = encodeState(figures, Float32Array.from([0.5, -0.5]), 32);
    expect(state.slice(2).every((value) => value === 0)).toBe(true);
    expect(stateJoints(spec)).toEqual([0, 1]);
  });

  it('a joint that stands still keeps a finite scale', () => {
    const spec = smallSpec(1);
    const still = { length: 5, state: new Float32Array(5), action: new Float32Array(5) };
    const [action] = fitNormalisation(spec, [still]).action;
    expect(action?.scale).toBeGreaterThan(0);
  });

  it('needs a frame', () => {
    expect(() => fitNormalisation(smallSpec(1), [])).toThrow(RangeError);
  });
});
