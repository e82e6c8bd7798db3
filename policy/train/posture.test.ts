import { describe, expect, it } from 'vitest';
import { postureSpread } from './posture.ts';

const FRAMES = 40;

/** Joint 0 rests at `place` all through an episode, joint 1 swings about zero in every one. */
function episode(place: number): { length: number; state: Float32Array } {
  const state = Float32Array.from({ length: FRAMES * 2 }, (_, i) =>
    i % 2 === 0 ? place : Math.sin((Math.PI * (i - 1)) / 20),
  );
  return { length: FRAMES, state };
}

describe('spread of postures', () => {
  it('is the standard deviation of the means of episodes, in the joint’s own', () => {
    const places = [-3, 1, 5];
    const far = Math.sqrt((16 + 0 + 16) / 3);
    const normalisation = { state: { mean: [1, 0], std: [far, 0.7] } };
    const [resting, swinging] = postureSpread(normalisation, places.map(episode));
    expect(resting).toBeCloseTo(1, 6);
    expect(swinging).toBeCloseTo(0, 6);
  });

  it('is in units of what the model is shown', () => {
    const normalisation = { state: { mean: [1, 0], std: [2, 1] } };
    const [resting] = postureSpread(normalisation, [episode(-1), episode(3)]);
    expect(resting).toBeCloseTo(1, 6);
  });

  it('is zero for a single episode', () => {
    const normalisation = { state: { mean: [0, 0], std: [1, 1] } };
    const spread = postureSpread(normalisation, [episode(4)]);
    expect([...spread].every((far) => Math.abs(far) < 1e-6)).toBe(true);
  });
});
