import {
  add,
  cast,
  gather,
  linear,
  matmul,
  reshape,
  rowLinear,
  type Tensor,
} from '../tensor/index.ts';
import { lastDim } from './layers.ts';
import { fanIn, zeros, type Params } from './params.ts';

/**
 * Weights of several embodiments side by side (GR00T's category-specific layers, with slots that
 * load and drop while serving): `gathered` takes each row's own slot; `grouped` has rows in order
 * of slots, equally many each, which costs no gathering and so is the form for training.
 */
export type Bank =
  | { readonly kind: 'gathered'; readonly slots: number; readonly slot: Tensor }
  | { readonly kind: 'grouped'; readonly slots: number };

/** Affine layer of the row's own slot: x [B, in] or [B, L, in] → [..., out]; weights [slots, in, out]. */
export function bankDense(p: Params, bank: Bank, x: Tensor, out: number): Tensor {
  const width = lastDim(x);
  const weights = p.param('weight', [bank.slots, width, out], fanIn(width), true);
  const biases = p.param('bias', [bank.slots, out], zeros);
  if (bank.kind === 'gathered') {
    return rowLinear(x, ofSlot(weights, bank.slot, x), ofSlot(biases, bank.slot, x));
  }
  if (bank.slots === 1) {
    return linear(x, reshape(weights, [width, out]), reshape(biases, [out]), { weight: 'io' });
  }
  const grouped = reshape(x, [bank.slots, -1, width]);
  const y = add(matmul(grouped, weights), reshape(biases, [bank.slots, 1, out]));
  return reshape(y, [...x.shape.slice(0, -1), out]);
}

/**
 * Low-rank pair of the row's own slot, (x·A)·B: x [B, in] or [B, L, in] → [..., out]; A
 * [slots, in, rank] starts random and B [slots, rank, out] zero (Hu et al. 2021).
 */
export function bankPair(p: Params, bank: Bank, x: Tensor, rank: number, out: number): Tensor {
  const width = lastDim(x);
  const a = p.param('lora_A', [bank.slots, width, rank], fanIn(width), true);
  const b = p.param('lora_B', [bank.slots, rank, out], zeros, true);
  if (bank.kind === 'gathered') {
    return rowLinear(rowLinear(x, ofSlot(a, bank.slot, x)), ofSlot(b, bank.slot, x));
  }
  const grouped = reshape(x, [bank.slots, -1, width]);
  return reshape(matmul(matmul(grouped, a), b), [...x.shape.slice(0, -1), out]);
}

/** The rows' own entries of a bank in the type of `like`: a bank may lie in float16. */
function ofSlot(bank: Tensor, slot: Tensor, like: Tensor): Tensor {
  return cast(gather(bank, slot, 0), like.dtype);
}
