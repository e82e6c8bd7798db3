import { reshape } from './broadcast.ts';
import { add, mul } from './elementwise.ts';
import { isFloat } from './dtype.ts';
import { ShapeError } from './errors.ts';
import type { Tensor } from './graph.ts';
import { matmul, swap } from './linalg.ts';
import { where } from './logic.ts';
import { softmax } from './reduce.ts';
import { dim } from './shapes.ts';

/** Scaled dot-product attention. */

/** What hidden keys get added to their score: finite, so that a row that may see nothing stays finite. */
const HIDDEN = -1e9;
const HIDDEN_HALF = -6e4;

export interface AttentionOptions {
  /**
   * [B, Tk], or [B or 1, heads or 1, Tq or 1, Tk]. A float mask is added to the scores (see
   * `attentionBias`, to make it once for many layers); any other hides keys where it is 0.
   */
  readonly mask?: Tensor;
  /** Query i sees keys up to i + (Tk - Tq). */
  readonly causal?: boolean;
  /** Default 1/√head width. */
  readonly scale?: number;
}

/**
 * q [B, heads, Tq, D], k [B, kv, Tk, D], v [B, kv, Tk, Dv] → [B, heads, Tq, Dv]. kv divides heads; query
 * head i reads key-value head ⌊i·kv/heads⌋, by grouping the queries and never repeating keys or values.
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  const shapes = [q.shape, k.shape, v.shape];
  if (shapes.some((s) => s.length !== 4))
    throw new ShapeError('attention', 'q, k, v have rank 4', shapes);
  const [batch, heads, queries, width] = [
    dim(q.shape, 0),
    dim(q.shape, 1),
    dim(q.shape, 2),
    dim(q.shape, 3),
  ];
  const [kv, keys] = [dim(k.shape, 1), dim(k.shape, 2)];
  if (heads % kv !== 0 || dim(v.shape, 1) !== kv || dim(k.shape, 3) !== width) {
    throw new ShapeError('attention', 'heads or widths do not fit', shapes);
  }
  const groups = heads / kv;
  const scaled = mul(q, options.scale ?? 1 / Math.sqrt(width));
  const bias = biasOf(q, keys, options);
  if (groups === 1) {
    const scores = matmul(scaled, swap(k));
    return matmul(softmax(bias === undefined ? scores : add(scores, bias)), v);
  }
  const grouped = reshape(scaled, [batch, kv, groups * queries, width]);
  const scores = matmul(grouped, swap(k));
  const weights =
    bias === undefined ? softmax(scores) : groupedSoftmax(scores, bias, groups, queries);
  return reshape(matmul(weights, v), [batch, heads, queries, dim(v.shape, 3)]);
}

/** softmax over scores [B, kv, groups·Tq, Tk] with a bias that names heads, or all of them, on axis 1. */
function groupedSoftmax(scores: Tensor, bias: Tensor, groups: number, queries: number): Tensor {
  const [batch, kv, , keys] = scores.shape as readonly [number, number, number, number];
  const apart = reshape(scores, [batch, kv, groups, queries, keys]);
  const [b, h, t, s] = bias.shape as readonly [number, number, number, number];
  const fitting = h === 1 ? reshape(bias, [b, 1, 1, t, s]) : reshape(bias, [b, kv, groups, t, s]);
  return reshape(softmax(add(apart, fitting)), [batch, kv, groups * queries, keys]);
}

function biasOf(q: Tensor, keys: number, options: AttentionOptions): Tensor | undefined {
  const causal = options.causal === true ? causalBias(q, dim(q.shape, 2), keys) : undefined;
  if (options.mask === undefined) return causal;
  const mask = isFloat(options.mask.dtype) ? options.mask : attentionBias(options.mask, q.dtype);
  if (mask.shape.length !== 4)
    throw new ShapeError('attention', 'a mask has rank 2 or 4', [mask.shape]);
  return causal === undefined ? mask : add(mask, causal);
}

/** The additive form of a mask in which 0 hides: [B, Tk] → [B, 1, 1, Tk], rank 4 stays. */
export function attentionBias(keep: Tensor, dtype: Tensor['dtype'] = 'float32'): Tensor {
  const [batch, keys] = keep.shape;
  const shaped =
    keep.shape.length === 2 && batch !== undefined && keys !== undefined
      ? reshape(keep, [batch, 1, 1, keys])
      : keep;
  const hidden = keep.graph.constant(dtype === 'float16' ? HIDDEN_HALF : HIDDEN, [], dtype);
  return where(shaped, keep.graph.constant(0, [], dtype), hidden);
}

function causalBias(q: Tensor, queries: number, keys: number): Tensor {
  if (queries < 0 || keys < queries) {
    throw new ShapeError('attention', `causal needs as many keys as queries, or more`, [
      q.shape,
      [keys],
    ]);
  }
  const hidden = q.dtype === 'float16' ? HIDDEN_HALF : HIDDEN;
  const bias = Array.from({ length: queries * keys }, (_, n) =>
    n % keys > Math.floor(n / keys) + keys - queries ? hidden : 0,
  );
  return q.graph.constant(bias, [1, 1, queries, keys], q.dtype);
}
