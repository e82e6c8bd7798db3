import { uniform } from './random.ts';

export const RESAMPLES = 2000;

/** One episode's sum of squared errors and the number of values in it. */
export interface EpisodeSums {
  readonly squared: number;
  readonly count: number;
}

/**
 * 95 % percentile interval of a mean over pooled episodes: episodes are drawn with replacement, as
 * many as there are, `resamples` times. With `minus` the interval is that of the difference of two
 * predictors over the same draws, so that what makes an episode hard for both cancels.
 */
export function bootstrapInterval(
  episodes: readonly EpisodeSums[],
  seed: number,
  minus?: readonly EpisodeSums[],
  resamples = RESAMPLES,
): [number, number] {
  const next = uniform(seed);
  const means = new Float64Array(resamples);
  for (let r = 0; r < resamples; r++) {
    const drawn = episodes.map(() => Math.floor(next() * episodes.length));
    const mean = pooledMean(episodes, drawn);
    means[r] = minus === undefined ? mean : mean - pooledMean(minus, drawn);
  }
  means.sort();
  return [quantile(means, 0.025), quantile(means, 0.975)];
}

function pooledMean(episodes: readonly EpisodeSums[], drawn: readonly number[]): number {
  let squared = 0;
  let count = 0;
  for (const index of drawn) {
    const episode = episodes[index];
    if (episode === undefined) throw new RangeError(`no episode ${index} to draw`);
    squared += episode.squared;
    count += episode.count;
  }
  return squared / count;
}

/** Quantile of ascending values by linear interpolation. */
function quantile(sorted: Float64Array, q: number): number {
  const position = q * (sorted.length - 1);
  const low = Math.floor(position);
  const high = Math.min(low + 1, sorted.length - 1);
  const share = position - low;
  return sorted[low]! * (1 - share) + sorted[high]! * share;
}
