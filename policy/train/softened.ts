import { initialValues, type ParamSpec } from '../nn/params.ts';

/**
 * Weights on the way from a trained start to a fresh one: share·trained + (1 − share)·fresh ("shrink
 * and perturb", Ash & Adams 2020). A network that goes on from weights fitted to other pictures fits
 * its own set as well and generalises worse than one that starts anew; this keeps a part of what the
 * weights know and gives the rest back its freedom to move.
 * @param share 0 (fresh) to 1 (the trained weights themselves)
 * @param seed of the fresh values
 */
export function softened(
  spec: ParamSpec,
  trained: Float32Array,
  share: number,
  seed: number,
): Float32Array {
  if (!(share >= 0 && share <= 1)) {
    throw new RangeError(`the share of the base must lie in 0 to 1, got ${share}`);
  }
  if (share === 1) return trained;
  const fresh = initialValues(spec, seed);
  return trained.map((value, i) => share * value + (1 - share) * (fresh[i] as number));
}
