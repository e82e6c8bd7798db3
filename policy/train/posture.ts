import type { Motion, Normalisation } from '../data/index.ts';

/**
 * How far each state joint's mean moves from episode to episode, in the joint's standard deviations:
 * about 1 for an arm that rests within an episode and elsewhere in the next, near 0 for one that
 * moves the same way in all.
 * @returns f32 [S]
 */
export function postureSpread(
  { state: { mean, std } }: Pick<Normalisation, 'state'>,
  episodes: readonly Pick<Motion, 'length' | 'state'>[],
): Float32Array {
  const joints = mean.length;
  const means = episodes.map(({ length, state }) =>
    mean.map((centre, d) => {
      let sum = 0;
      for (let t = 0; t < length; t++) sum += (state[t * joints + d] as number) - centre;
      return sum / length / (std[d] as number);
    }),
  );
  return Float32Array.from({ length: joints }, (_, d) => {
    const middle = means.reduce((sum, one) => sum + (one[d] as number), 0) / means.length;
    const square = means.reduce((sum, one) => sum + ((one[d] as number) - middle) ** 2, 0);
    return Math.sqrt(square / means.length);
  });
}
