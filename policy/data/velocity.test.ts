import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { smallSpec } from '../../test/support/small-policy.ts';
import { fitNormalisation } from './normalise.ts';
import { earlierInEpisode, encodeVelocity, fitVelocity } from './velocity.ts';

const spec = smallSpec(2);
const width = spec.state.length;
const { horizon } = spec;
const lag = horizon / 2;

/** Joint d moves by `rates[d]` a frame. */
const steady = (length: number, rates: readonly number[]) => {
  const state = Float32Array.from({ length: length * width }, (_, i) => {
    const t = Math.floor(i / width);
    return t * (rates[i % width] as number);
  });
  return { length, state, action: state };
};

describe('the scale of velocities', () => {
  it('is the root mean square of what joints move over half a chunk', () => {
    const slow = steady(lag + 10, [0.1, -0.02]);
    const fast = steady(lag + 30, [0.3, 0.02]);
    const [first, second] = fitVelocity(spec, [slow, fast], [1, 1]);
    // Ten pairs of frames of the slow episode, thirty of the fast one.
    expect(first).toBeCloseTo(Math.sqrt((10 * 0.01 + 30 * 0.09) / 40), 6);
    expect(second).toBeCloseTo(0.02, 6);
  });

  it('of a joint that stands still is a share of its deviation', () => {
    const [, second] = fitVelocity(spec, [steady(lag + 5, [0.1, 0])], [1, 2]);
    expect(second).toBeCloseTo(0.01, 9);
  });

  it('needs an episode that is long enough', () => {
    expect(() => fitVelocity(spec, [steady(lag, [1, 1])], [1, 1])).toThrow(RangeError);
  });
});

describe('a velocity', () => {
  const episode = steady(200, [0.1, -0.02]);
  const plain = fitNormalisation(spec, [episode]);
  const velocity = fitVelocity(spec, [episode], plain.state.std);
  const normalisation = { ...plain, velocity };
  const at = (t: number) => episode.state.subarray(t * width, (t + 1) * width);

  it('of a steady motion is the same however far back the earlier state lies', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: horizon }),
        fc.integer({ min: 20, max: 199 }),
        (n, t) => {
          const earlier = { state: at(t - n), periods: n };
          const encoded = encodeVelocity(normalisation, earlier, at(t), horizon, 8);
          expect(encoded).toHaveLength(8);
          expect(encoded?.[0]).toBeCloseTo(1, 3);
          expect(encoded?.[1]).toBeCloseTo(-1, 3);
          expect([...(encoded ?? [])].slice(width).every((value) => value === 0)).toBe(true);
        },
      ),
    );
  });

  it('is bounded, and unknown where the earlier state is missing, the same one or too old', () => {
    const of = (periods: number, state = at(0)) =>
      encodeVelocity(normalisation, { state, periods }, at(100), horizon, 8);
    expect(of(1)?.[0]).toBe(3);
    expect(of(0)).toBeUndefined();
    expect(of(-1)).toBeUndefined();
    expect(of(Number.NaN)).toBeUndefined();
    expect(of(horizon + 0.01)).toBeUndefined();
    expect(encodeVelocity(normalisation, undefined, at(3), horizon, 8)).toBeUndefined();
    expect(encodeVelocity(plain, { state: at(2), periods: 1 }, at(3), horizon, 8)).toBeUndefined();
  });

  it('within an episode is taken over half a chunk, or since its start', () => {
    const seen = (t: number) => earlierInEpisode(episode, t, { horizon, width });
    expect(seen(0)).toBeUndefined();
    expect(seen(2)).toEqual({ state: at(0), periods: 2 });
    expect(seen(50)).toEqual({ state: at(50 - lag), periods: lag });
  });
});
