import type { Normalisation } from '../data/index.ts';

/** No dimension counts as one that moves less than this share of its scale: what only jitters is no task. */
const LEAST_SPREAD = 0.1;

/**
 * Weight of each action dimension in the loss, with mean 1. The decoder sees a dimension in units of
 * how far a chunk moves it (`scale`), a held-out error counts it in its standard deviations: their
 * quotient, to the power `strength`, leads from the first to the second. 0 weighs all alike, 2 is the
 * held-out error itself.
 * @param std standard deviation of each action over the training set, raw units [A]
 * @returns f32 [A]; a dimension that never moves weighs as if it moved by its scale
 */
export function actionWeights(
  { action }: Pick<Normalisation, 'action'>,
  std: readonly number[],
  strength: number,
): Float32Array {
  const raw = action.map(({ scale }, a) => {
    const spread = std[a];
    if (spread === undefined) throw new RangeError(`action dimension ${a} has no spread`);
    return spread > 0 ? (scale / Math.max(spread, scale * LEAST_SPREAD)) ** strength : 1;
  });
  const mean = raw.reduce((sum, weight) => sum + weight, 0) / raw.length;
  return Float32Array.from(raw, (weight) => weight / mean);
}
