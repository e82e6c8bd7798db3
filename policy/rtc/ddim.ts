import type { CleanChange } from '../decoders/index.ts';
import { add, gradients, mul, reshape, sub, where, type Tensor } from '../tensor/index.ts';

/**
 * How the distance to the previous chunk reaches the sample: `direct` adds it to the predicted clean
 * chunk, forward passes alone; `pulled-back` first takes it through the network's Jacobian.
 */
export type Correction = 'direct' | 'pulled-back';

export interface DdimGuide {
  /** The previous chunk, padded, [B, T, A]. */
  readonly previous: Tensor;
  /** Prefix weights [B or 1, T]; for `hard`, 1 where an action is set and 0 elsewhere. */
  readonly weights: Tensor;
  readonly mode: Correction | 'hard';
}

/**
 * Turns a DDIM sample towards a previous chunk: what `ddimStep` does to each step's clean chunk x̂. With
 * W the prefix weights it becomes x̂ + W·(previous − x̂) (`direct`), or x̂ + √ā·Jᵀ·W·(previous − x̂) with
 * J = ∂x̂/∂x (`pulled-back`; the factor makes both the same for a network that does not look at x), or
 * `previous` where W is 1 (`hard`). J is that of x̂ before it is clipped: a clipped action would feel no pull.
 */
export function towardsPrevious(guide: DdimGuide): CleanChange {
  return (clean, x, root, found) => {
    const [rows = 1, length = 1] = guide.weights.shape;
    const weights = reshape(guide.weights, [rows, length, 1]);
    if (guide.mode === 'hard') return where(weights, guide.previous, clean);
    const error = mul(sub(guide.previous, clean), weights);
    if (guide.mode === 'direct') return add(clean, error);
    return add(clean, mul(pulledBack(found, x, error), root));
  };
}

/** Jᵀ·error with J = ∂clean/∂x: what the error asks of x. */
export function pulledBack(clean: Tensor, x: Tensor, error: Tensor): Tensor {
  const [slope] = gradients({ of: clean, upstream: error }, [x]);
  if (slope === undefined) throw new RangeError('the clean chunk has no gradient');
  return slope;
}
