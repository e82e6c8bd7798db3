import { type RecordedEpisode } from './recorded.ts';

/** A dimension moves when at least this share of its variance lies within episodes. */
export const MOVING_SHARE = 0.5;

/**
 * Share of each action dimension's variance that lies within episodes, 0 to 1: the mean over frames
 * of the squared distance to the episode's own mean, divided by that to the mean of all frames. A
 * dimension that stands still everywhere has share 0.
 *
 * @param width A, the number of action dimensions.
 * @returns [A]
 */
export function varianceWithin(episodes: readonly RecordedEpisode[], width: number): Float64Array {
  const within = new Float64Array(width);
  const total = new Float64Array(width);
  const grand = new Float64Array(width);
  let frames = 0;
  const means = episodes.map((episode) => {
    const mean = columnSums(episode.action, episode.length, width);
    for (let d = 0; d < width; d++) {
      grand[d] = grand[d]! + mean[d]!;
      mean[d] = mean[d]! / episode.length;
    }
    frames += episode.length;
    return mean;
  });
  for (let d = 0; d < width; d++) grand[d] = grand[d]! / frames;
  episodes.forEach((episode, e) => {
    const mean = means[e];
    if (mean === undefined) return;
    for (let t = 0; t < episode.length; t++) {
      for (let d = 0; d < width; d++) {
        const value = episode.action[t * width + d]!;
        within[d] = within[d]! + (value - mean[d]!) ** 2;
        total[d] = total[d]! + (value - grand[d]!) ** 2;
      }
    }
  });
  return within.map((value, d) => (total[d]! === 0 ? 0 : value / total[d]!));
}

/** Dimensions that move: `varianceWithin` of at least `MOVING_SHARE`, in ascending order. */
export function movingDimensions(episodes: readonly RecordedEpisode[], width: number): number[] {
  return [...varianceWithin(episodes, width)].flatMap((share, d) =>
    share >= MOVING_SHARE ? [d] : [],
  );
}

function columnSums(values: Float32Array, rows: number, width: number): Float64Array {
  const sums = new Float64Array(width);
  for (let t = 0; t < rows; t++) {
    for (let d = 0; d < width; d++) sums[d] = sums[d]! + values[t * width + d]!;
  }
  return sums;
}
