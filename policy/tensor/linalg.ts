import { filled, reduceSum, reshape, unbroadcast } from './broadcast.ts';
import { add } from './elementwise.ts';
import { composite, emit } from './emit.ts';
import { ShapeError } from './errors.ts';
import type { Tensor } from './graph.ts';
import { after, column, isLarge } from './order.ts';
import { broadcast, dim, sizeOf } from './shapes.ts';
import { transpose } from './shape.ts';

/** Matrix products. Transposes of operands are flags of Gemm, or fused by the runtime (FusedMatMul). */

/** a·b over the last two axes; leading axes broadcast. Both have rank ≥ 2. */
export function matmul(a: Tensor, b: Tensor): Tensor {
  if (a.shape.length < 2 || b.shape.length < 2 || a.dtype !== b.dtype) {
    throw new ShapeError('matmul', 'needs two tensors of one type and rank ≥ 2', [
      a.shape,
      b.shape,
    ]);
  }
  const inner = dim(a.shape, -1);
  if (inner !== dim(b.shape, -2) && inner !== -1 && dim(b.shape, -2) !== -1) {
    throw new ShapeError('matmul', 'inner dimensions differ', [a.shape, b.shape]);
  }
  const lead = broadcast('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2));
  const output = { dtype: a.dtype, shape: [...lead, dim(a.shape, -2), dim(b.shape, -1)] };
  if (b.shape.length === 2) {
    return emit('MatMul', [a, b], output, {}, [
      (dy) => matmul(dy, swap(b)),
      (dy) => overRows(rows(a), rows(dy)),
    ]);
  }
  return emit('MatMul', [a, b], output, {}, [
    (dy) => unbroadcast(matmul(dy, swap(b)), a.shape),
    (dy) => unbroadcast(matmul(swap(a), dy), b.shape),
  ]);
}

/** The last two axes exchanged. */
export function swap(x: Tensor): Tensor {
  const rank = x.shape.length;
  return transpose(x, [...x.shape.slice(0, -2).map((_, i) => i), rank - 1, rank - 2]);
}

/** x as a matrix: all axes but the last in one. */
export function rows(x: Tensor): Tensor {
  return x.shape.length === 2 ? x : reshape(x, [-1, dim(x.shape, -1)]);
}

/** Entries of a product from which on its bias is added by itself. */
const LARGE_PRODUCT = 1 << 19;

export interface GemmOptions {
  readonly transA?: boolean;
  readonly transB?: boolean;
}

/** Product of two matrices, either read transposed, plus a row `c` [columns] where given. */
export function gemm(a: Tensor, b: Tensor, options: GemmOptions = {}, c?: Tensor): Tensor {
  const ta = options.transA === true;
  const tb = options.transB === true;
  if (a.shape.length !== 2 || b.shape.length !== 2) {
    throw new ShapeError('gemm', 'needs matrices', [a.shape, b.shape]);
  }
  const [m, k] = [dim(a.shape, ta ? 1 : 0), dim(a.shape, ta ? 0 : 1)];
  const [k2, n] = [dim(b.shape, tb ? 1 : 0), dim(b.shape, tb ? 0 : 1)];
  if (k !== k2 || (c !== undefined && dim(c.shape, -1) !== n)) {
    throw new ShapeError('gemm', 'the dimensions do not fit', [
      a.shape,
      b.shape,
      ...(c ? [c.shape] : []),
    ]);
  }
  const attributes = { transA: { int: ta ? 1 : 0 }, transB: { int: tb ? 1 : 0 } };
  const output = { dtype: a.dtype, shape: [m, n] };
  const inputs = c === undefined ? [a, b] : [a, b, c];
  // The runtime lays the row under a product by one thread alone.
  const isApart = c !== undefined && sizeOf(output.shape) >= LARGE_PRODUCT;
  const product = emit('Gemm', isApart ? [a, b] : inputs, output, attributes);
  const y = isApart ? emit('Add', [product, c], output) : product;
  return composite(inputs, y, (dy, [toA, toB, toC]) => {
    const ofC = toC === true ? sumRows(dy) : undefined;
    const ofB = toB === true ? towardsSecond(a, dy, ta, tb) : undefined;
    const weight = isLarge(dy) && toA === true ? after(b, ofB, tb ? column(ofC) : ofC) : b;
    const ofA =
      toA !== true
        ? undefined
        : ta
          ? gemm(weight, dy, { transA: tb, transB: true })
          : gemm(dy, weight, { transB: !tb });
    return [ofA, ofB, ofC];
  });
}

/** Gradient of a gemm's second operand. */
function towardsSecond(a: Tensor, dy: Tensor, transA: boolean, transB: boolean): Tensor {
  if (!transA) return transB ? overRows(dy, a) : overRows(a, dy);
  return transB ? gemm(dy, a, { transA: true, transB: true }) : gemm(a, dy);
}

/** Entries of a product over rows up to which shares of them are faster than the whole, and rows from which on. */
const [NARROW, LONG] = [192 * 192, 1024];
/** Equal shares of long rows: as many as keep both threads at work and what they read in the cache. */
const SHARES = 4;

/** Long rows in equal shares, [SHARES, rows / SHARES, n]; undefined where they are short or cannot be shared out. */
function shared(x: Tensor): Tensor | undefined {
  const count = dim(x.shape, 0);
  if (count < LONG || count % SHARES !== 0) return undefined;
  return reshape(x, [SHARES, count / SHARES, dim(x.shape, 1)]);
}

/**
 * aᵀ·b for a [rows, m] and b [rows, n]. The runtime's threads divide the result among them, and each packs all
 * rows of b: of long and narrow matrices they get shares of the rows instead.
 */
export function overRows(a: Tensor, b: Tensor): Tensor {
  const isNarrow = dim(a.shape, 1) * dim(b.shape, 1) <= NARROW;
  const [first, second] = isNarrow ? [shared(a), shared(b)] : [];
  if (first === undefined || second === undefined) return gemm(a, b, { transA: true });
  return reduceSum(matmul(swap(first), second), [0]);
}

/** Sum over all axes but the last, as a product with a row of ones: several times faster than ReduceSum. */
export function sumRows(x: Tensor): Tensor {
  const matrix = rows(x);
  const shares = shared(matrix);
  if (shares !== undefined) {
    const ones = filled(x.graph, 1, [SHARES, 1, dim(shares.shape, 1)], x.dtype);
    return reduceSum(matmul(ones, shares), [0, 1]);
  }
  const ones = filled(x.graph, 1, [1, dim(matrix.shape, 0)], x.dtype);
  return reshape(gemm(ones, matrix), [dim(matrix.shape, 1)]);
}

export interface LinearOptions {
  /** 'oi' (default): w is [out, in], as PyTorch has it; 'io': [in, out]. */
  readonly weight?: 'oi' | 'io';
}

/** x[…, in]·w (+ b[out]) → […, out]. */
export function linear(x: Tensor, w: Tensor, b?: Tensor, options: LinearOptions = {}): Tensor {
  const oi = (options.weight ?? 'oi') === 'oi';
  const features = dim(w.shape, oi ? 0 : 1);
  if (w.shape.length !== 2 || dim(x.shape, -1) !== dim(w.shape, oi ? 1 : 0)) {
    throw new ShapeError('linear', `the weight (${oi ? 'out, in' : 'in, out'}) does not take x`, [
      x.shape,
      w.shape,
    ]);
  }
  const y = gemm(rows(x), w, { transB: oi }, b);
  return x.shape.length === 2 ? y : reshape(y, [...x.shape.slice(0, -1), features]);
}

/** y[b] = x[b]·w[b] (+ bias[b]): x [B, in] or [B, T, in], w [B, in, out], bias [B, out]. */
export function rowLinear(x: Tensor, w: Tensor, bias?: Tensor): Tensor {
  const [batch, features] = [dim(x.shape, 0), dim(w.shape, -1)];
  const tokens = x.shape.length === 2 ? reshape(x, [batch, 1, dim(x.shape, 1)]) : x;
  const y = matmul(tokens, w);
  const shifted = bias === undefined ? y : add(y, reshape(bias, [batch, 1, features]));
  return x.shape.length === 2 ? reshape(shifted, [batch, features]) : shifted;
}
