import type { FeatureStats } from '@armature/sdk/contract';

const quantiles = { q01: 0.01, q10: 0.1, q50: 0.5, q90: 0.9, q99: 0.99 } as const;

/**
 * True statistics over every frame of a set: population standard deviation, quantiles by linear
 * interpolation between order statistics (numpy's default). They cannot be merged from those of
 * single episodes, so all frames are taken together.
 * @param names one a dimension
 * @param parts row-major f32 [rows · names.length] each, e.g. one an episode
 * @throws RangeError when there is no row, or a part holds a fraction of a row.
 */
export function featureStats(
  names: readonly string[],
  parts: readonly Float32Array[],
): FeatureStats {
  const width = names.length;
  const rows = parts.reduce((sum, part) => sum + part.length / width, 0);
  if (rows === 0 || !Number.isInteger(rows)) {
    throw new RangeError(`statistics need whole rows of ${width} values, got ${rows} rows`);
  }
  const stats: FeatureStats = {
    names: [...names],
    mean: [],
    std: [],
    min: [],
    max: [],
    q01: [],
    q10: [],
    q50: [],
    q90: [],
    q99: [],
  };
  const column = new Float32Array(rows);
  for (let dimension = 0; dimension < width; dimension += 1) {
    gather(column, parts, dimension, width);
    const { mean, std } = moments(column);
    stats.mean.push(mean);
    stats.std.push(std);
    column.sort();
    stats.min.push(quantile(column, 0));
    stats.max.push(quantile(column, 1));
    for (const [key, q] of Object.entries(quantiles)) {
      stats[key as keyof typeof quantiles].push(quantile(column, q));
    }
  }
  return stats;
}

function gather(
  column: Float32Array,
  parts: readonly Float32Array[],
  dimension: number,
  width: number,
): void {
  let row = 0;
  for (const part of parts) {
    for (let i = dimension; i < part.length; i += width) {
      column[row] = part[i] ?? Number.NaN;
      row += 1;
    }
  }
}

/** Two passes, so that a small spread about a large mean keeps its digits. */
function moments(values: Float32Array): { mean: number; std: number } {
  let sum = 0;
  for (const value of values) sum += value;
  const mean = sum / values.length;
  let squares = 0;
  for (const value of values) squares += (value - mean) ** 2;
  return { mean, std: Math.sqrt(squares / values.length) };
}

/** @param sorted ascending, not empty @param q 0 to 1 */
function quantile(sorted: Float32Array, q: number): number {
  const position = q * (sorted.length - 1);
  const below = Math.floor(position);
  const low = sorted[below] ?? Number.NaN;
  const high = sorted[Math.min(below + 1, sorted.length - 1)] ?? Number.NaN;
  return low + (high - low) * (position - below);
}
