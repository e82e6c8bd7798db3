import { reshape, where, type Tensor } from '../tensor/index.ts';

/** Actions that a chunk begins with whatever is sampled behind them. */
export interface HeldPrefix {
  /** [B, T, A]; what lies behind the prefix is not looked at. */
  readonly previous: Tensor;
  /** [B, T], 1 for actions that are given and 0 for those that are sampled. */
  readonly mask: Tensor;
}

/**
 * x [B, T, A] with the actions of the prefix in their places, each value exactly: no arithmetic
 * touches them. Only the sign of a zero may be lost, as ONNX Runtime's Where gives some −0 as +0.
 */
export function withPrefix(x: Tensor, { previous, mask }: HeldPrefix): Tensor {
  const [batch, length] = mask.shape as [number, number];
  return where(reshape(mask, [batch, length, 1]), previous, x);
}
