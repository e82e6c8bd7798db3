import { reduceSum, reshape, unbroadcast } from './broadcast.ts';
import { add, mul, sub } from './elementwise.ts';
import { isFloat } from './dtype.ts';
import { composite } from './emit.ts';
import { ShapeError } from './errors.ts';
import type { Graph, Tensor } from './graph.ts';
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
 * q [B or 1, heads, Tq, D], k [B, kv, Tk, D], v [B, kv, Tk, Dv] → [B, heads, Tq, Dv]. kv divides heads; query
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
  const scale = options.scale ?? 1 / Math.sqrt(width);
  const bias = biasOf(q, keys, options);
  const grouped = reshape(q, [batch, kv, groups * queries, width]);
  // A product times a constant becomes the product's own factor in the runtime.
  const scores = mul(matmul(grouped, swap(k)), scale);
  const weights = weightsOf(scores, bias, groups, queries);
  const mixed = matmul(weights, v);
  const y = reshape(mixed, [dim(mixed.shape, 0), heads, queries, dim(v.shape, 3)]);
  const inputs = [q, k, v, ...(bias === undefined ? [] : [bias])];
  return composite(inputs, y, (dyHeads, needed) => {
    const dy = reshape(dyHeads, mixed.shape);
    // The row sums of softmax's gradient are those of dy·y: D wide instead of Tk.
    const along = reduceSum(mul(dy, mixed), [3], true);
    const dScores = mul(weights, sub(matmul(dy, swap(v)), along));
    return [
      needed[0] === true
        ? reshape(unbroadcast(mul(matmul(dScores, k), scale), grouped.shape), q.shape)
        : undefined,
      needed[1] === true
        ? unbroadcast(mul(matmul(swap(dScores), grouped), scale), k.shape)
        : undefined,
      needed[2] === true ? unbroadcast(matmul(swap(weights), dy), v.shape) : undefined,
      needed[3] === true && bias !== undefined
        ? biasGradient(dScores, bias, groups, queries)
        : undefined,
    ];
  });
}

/** softmax over scores [B, kv, groups·Tq, Tk] plus a bias that names heads, or all of them, on axis 1. */
function weightsOf(
  scores: Tensor,
  bias: Tensor | undefined,
  groups: number,
  queries: number,
): Tensor {
  if (bias === undefined) return softmax(scores);
  if (groups === 1) return softmax(add(scores, bias));
  const apart = reshape(scores, apartShape(scores, groups, queries));
  return reshape(softmax(add(apart, groupedBias(bias, groups))), scores.shape);
}

function biasGradient(dScores: Tensor, bias: Tensor, groups: number, queries: number): Tensor {
  if (groups === 1) return unbroadcast(dScores, bias.shape);
  const apart = reshape(dScores, apartShape(dScores, groups, queries));
  return reshape(unbroadcast(apart, groupedBias(bias, groups).shape), bias.shape);
}

/** [B, kv, groups·Tq, Tk] → [B, kv, groups, Tq, Tk] */
function apartShape(scores: Tensor, groups: number, queries: number): number[] {
  return [dim(scores.shape, 0), dim(scores.shape, 1), groups, queries, dim(scores.shape, 3)];
}

/** [B, heads or 1, Tq, Tk] → [B, kv or 1, groups or 1, Tq, Tk] */
function groupedBias(bias: Tensor, groups: number): Tensor {
  const [b, h, t, s] = [0, 1, 2, 3].map((axis) => dim(bias.shape, axis)) as [
    number,
    number,
    number,
    number,
  ];
  return reshape(bias, h === 1 ? [b, 1, 1, t, s] : [b, h / groups, groups, t, s]);
}

function biasOf(q: Tensor, keys: number, options: AttentionOptions): Tensor | undefined {
  const causal =
    options.causal === true ? causalBias(q.graph, dim(q.shape, 2), keys, q.dtype) : undefined;
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

/** Hides later keys from `queries` tokens over `keys` that end with them: [1, 1, queries, keys]. */
export function causalBias(
  graph: Graph,
  queries: number,
  keys: number,
  dtype: Tensor['dtype'] = 'float32',
): Tensor {
  if (queries < 0 || keys < queries) {
    throw new ShapeError('attention', `causal needs as many keys as queries, or more`, [
      [queries],
      [keys],
    ]);
  }
  const hidden = dtype === 'float16' ? HIDDEN_HALF : HIDDEN;
  const bias = Array.from({ length: queries * keys }, (_, n) =>
    n % keys > Math.floor(n / keys) + keys - queries ? hidden : 0,
  );
  return graph.constant(bias, [1, 1, queries, keys], dtype);
}
