import { describe, expect, it } from 'vitest';
import { smallEpisodes, smallSpec } from '../../test/support/small-policy.ts';
import { fitNormalisation } from './normalise.ts';
import { outsideOf } from './outside.ts';

const CLIP = 1.3;

/** Episodes whose every number is `factor` times and `shift` more than those of `smallEpisodes`. */
function moved(spec: ReturnType<typeof smallSpec>, factor: number, shift: number) {
  const change = (values: Float32Array) => values.map((value) => value * factor + shift);
  return smallEpisodes(spec, 6).map(({ length, state, action }) => ({
    length,
    state: change(state),
    action: change(action),
  }));
}

describe.each(['absolute', 'state', 'last_command'] as const)('relative to %s', (reference) => {
  const spec = smallSpec(2, { reference });
  const figures = fitNormalisation(spec, smallEpisodes(spec, 6));

  it('holds its own set, and one that moves less', () => {
    expect(outsideOf(figures, spec, moved(spec, 1, 0), CLIP)).toEqual([]);
    expect(outsideOf(figures, spec, moved(spec, 0.3, 0), CLIP)).toEqual([]);
  });

  it('does not hold one that moves three times as far, or in another place', () => {
    const far = outsideOf(figures, spec, moved(spec, 3, 0), CLIP);
    expect(far.some(({ feature }) => feature === 'action')).toBe(true);
    const [worst] = outsideOf(figures, spec, moved(spec, 1, 20), CLIP);
    expect(worst?.share).toBe(1);
  });
});

it('counts as arithmetic does', () => {
  const spec = smallSpec(1, { reference: 'absolute' });
  const figures = {
    state: { mean: [0], std: [1] },
    command: [1],
    action: [
      { reference: 'absolute' as const, joint: -1, centre: 0, scale: 1, scale_without_command: 1 },
    ],
  };
  const ramp = Float32Array.from({ length: 100 }, (_, t) => t / 25);
  const found = outsideOf(figures, spec, [{ length: 100, state: ramp, action: ramp }], 2);
  const starts = Array.from({ length: 100 }, (_, t) => t);
  const steps = starts.flatMap((t) => starts.slice(t, t + spec.horizon));
  expect(found).toEqual([
    {
      feature: 'action',
      name: 'joint_0',
      share: steps.filter((t) => t > 50).length / steps.length,
    },
    { feature: 'state', name: 'joint_0', share: starts.filter((t) => t > 75).length / 100 },
  ]);
  expect(() => outsideOf(figures, spec, [], 2)).toThrow(RangeError);
});
