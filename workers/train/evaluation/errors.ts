import { type RecordedEpisode } from './recorded.ts';

/** Mean squared error in units of the training set's variance, mean absolute error in its std. */
export interface ErrorPair {
  mse: number;
  l1: number;
}

/**
 * Sums of a predictor's normalised errors over one episode, kept apart by step and dimension, so
 * that every figure (all dimensions, some dimensions, by step, pooled episodes) follows from them.
 */
export interface ErrorTable {
  readonly horizon: number;
  readonly actions: number;
  /** Sum of squared errors, [H, A]. */
  readonly squared: Float64Array;
  /** Sum of absolute errors, [H, A]. */
  readonly absolute: Float64Array;
  /** Chunks whose step h lies inside the episode, [H]. */
  readonly chunks: Float64Array;
}

export function emptyTable(horizon: number, actions: number): ErrorTable {
  return {
    horizon,
    actions,
    squared: new Float64Array(horizon * actions),
    absolute: new Float64Array(horizon * actions),
    chunks: new Float64Array(horizon),
  };
}

/**
 * Adds one predicted chunk; steps past the episode's end are masked.
 *
 * @param chunk [H, A], raw units.
 * @param t start frame; step h predicts `action[t + h]`.
 * @param std [A], the training set's standard deviations.
 * @throws RangeError if a predicted value is not finite.
 */
export function addChunk(
  table: ErrorTable,
  chunk: Float32Array,
  episode: RecordedEpisode,
  t: number,
  std: readonly number[],
): void {
  const { horizon, actions } = table;
  if (chunk.length !== horizon * actions) {
    throw new RangeError(`a chunk has ${chunk.length} values, not ${horizon} × ${actions}`);
  }
  const steps = Math.min(horizon, episode.length - t);
  for (let h = 0; h < steps; h++) {
    table.chunks[h] = table.chunks[h]! + 1;
    for (let d = 0; d < actions; d++) {
      const cell = h * actions + d;
      const error = chunk[cell]! - episode.action[(t + h) * actions + d]!;
      if (!Number.isFinite(error)) {
        throw new RangeError(
          `episode ${episode.index}, frame ${t}: step ${h}, dimension ${d} of the predicted chunk is not finite`,
        );
      }
      // A dimension that never moved in training has no scale: no figure reads its column.
      const scaled = std[d]! > 0 ? error / std[d]! : 0;
      table.squared[cell] = table.squared[cell]! + scaled * scaled;
      table.absolute[cell] = table.absolute[cell]! + Math.abs(scaled);
    }
  }
}

/** Sums over some dimensions of one table; `count` is the number of values summed. */
export interface ErrorSums {
  squared: number;
  absolute: number;
  count: number;
}

export function sums(table: ErrorTable, dimensions: readonly number[]): ErrorSums {
  const total = { squared: 0, absolute: 0, count: 0 };
  for (let h = 0; h < table.horizon; h++) {
    for (const d of dimensions) {
      total.squared += table.squared[h * table.actions + d]!;
      total.absolute += table.absolute[h * table.actions + d]!;
    }
    total.count += table.chunks[h]! * dimensions.length;
  }
  return total;
}

/** Errors over every valid value of several episodes together. */
export function pooled(tables: readonly ErrorTable[], dimensions: readonly number[]): ErrorPair {
  const parts = tables.map((table) => sums(table, dimensions));
  const count = parts.reduce((n, part) => n + part.count, 0);
  return {
    mse: parts.reduce((sum, part) => sum + part.squared, 0) / count,
    l1: parts.reduce((sum, part) => sum + part.absolute, 0) / count,
  };
}

/** Mean squared error of each step of the chunk over several episodes, [H]. */
export function squaredByStep(
  tables: readonly ErrorTable[],
  dimensions: readonly number[],
): number[] {
  const horizon = tables[0]?.horizon ?? 0;
  return Array.from({ length: horizon }, (_, h) => {
    let squared = 0;
    let count = 0;
    for (const table of tables) {
      for (const d of dimensions) squared += table.squared[h * table.actions + d]!;
      count += table.chunks[h]! * dimensions.length;
    }
    return squared / count;
  });
}
