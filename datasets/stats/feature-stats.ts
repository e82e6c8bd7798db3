import type { FeatureStats } from '@armature/sdk/contract';
import type { ColumnStore } from './column-store.ts';

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
  const column = new Float32Array(rows);
  return collect(
    names,
    names.map((_, dimension) => {
      gather(column, parts, dimension, width);
      return columnStats(column);
    }),
  );
}

/** As `featureStats`, of rows that are not all in memory. */
export async function storedStats(
  names: readonly string[],
  store: ColumnStore,
): Promise<FeatureStats> {
  const columns: ColumnStats[] = [];
  for (const dimension of names.keys()) columns.push(columnStats(await store.column(dimension)));
  return collect(names, columns);
}

type ColumnStats = Record<Exclude<keyof FeatureStats, 'names'>, number>;

function collect(names: readonly string[], columns: readonly ColumnStats[]): FeatureStats {
  const of = (key: keyof ColumnStats): number[] => columns.map((column) => column[key]);
  return {
    names: [...names],
    mean: of('mean'),
    std: of('std'),
    min: of('min'),
    max: of('max'),
    q01: of('q01'),
    q10: of('q10'),
    q50: of('q50'),
    q90: of('q90'),
    q99: of('q99'),
  };
}

/** @param column [rows], not empty; sorted afterwards */
function columnStats(column: Float32Array): ColumnStats {
  const { mean, std } = moments(column);
  column.sort();
  return {
    mean,
    std,
    min: quantile(column, 0),
    max: quantile(column, 1),
    q01: quantile(column, 0.01),
    q10: quantile(column, 0.1),
    q50: quantile(column, 0.5),
    q90: quantile(column, 0.9),
    q99: quantile(column, 0.99),
  };
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
