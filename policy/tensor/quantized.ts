import { reshape } from './broadcast.ts';
import { emit } from './emit.ts';
import type { PerInput } from './emit.ts';
import { GradientError, ShapeError } from './errors.ts';
import type { Tensor } from './graph.ts';
import { rows } from './linalg.ts';
import { dim } from './shapes.ts';

/**
 * Products with frozen weights in 8 or 4 bits (ONNX Runtime's own operators). They have no gradient: one
 * that would lead through them is refused, so `stopGradient` what a frozen part is given.
 */

/** A matrix [rows, columns] in int8 with one scale a column: w ≈ data · scales. */
export interface ColumnWeights {
  readonly rows: number;
  readonly columns: number;
  /** int8, row after row. */
  readonly data: Int8Array;
  /** [columns] */
  readonly scales: Float32Array;
}

/** Rounds a float32 matrix w [rows, columns], row after row, to int8 per column, symmetric. */
export function quantizeColumns(w: Float32Array, shape: readonly [number, number]): ColumnWeights {
  const [height, width] = shape;
  if (w.length !== height * width) throw new ShapeError('quantizeColumns', 'wrong size', [shape]);
  const scales = new Float32Array(width);
  w.forEach((x, i) => {
    const column = i % width;
    scales[column] = Math.max(scales[column] ?? 0, Math.abs(x) / 127);
  });
  const data = new Int8Array(w.length);
  // Not Int8Array.from: its iteration takes several times as long.
  w.forEach((x, i) => {
    const scale = scales[i % width] ?? 0;
    data[i] = scale === 0 ? 0 : Math.round(x / scale);
  });
  return { rows: height, columns: width, data, scales };
}

/**
 * x […, in]·w for w as int8 [in, out] with float scales [out], plus bias [out]; x is rounded to 8 bits on
 * the fly, one scale for all of it: what a row gives depends on the rows beside it. Best for many rows.
 */
export function int8Linear(x: Tensor, w: Tensor, scales: Tensor, bias?: Tensor): Tensor {
  const [inner, features] = [dim(w.shape, 0), dim(w.shape, 1)];
  if (w.dtype !== 'int8' || dim(x.shape, -1) !== inner || dim(scales.shape, 0) !== features) {
    throw new ShapeError('int8Linear', 'the weight does not take x', [
      x.shape,
      w.shape,
      scales.shape,
    ]);
  }
  const inputs = [rows(x), w, scales, undefined, ...(bias === undefined ? [] : [bias])];
  const output = { dtype: x.dtype, shape: [dim(rows(x).shape, 0), features] };
  const y = emit('DynamicQuantizeMatMul', trimmed(inputs), output, {}, frozen, 'com.microsoft');
  return reshape(y, [...x.shape.slice(0, -1), features]);
}

const refuse = (): never => {
  throw new GradientError('a product with quantised weights has no gradient');
};
/** x, the weight, its scales, the bias. */
const frozen: PerInput = [refuse, refuse, refuse, refuse];

/** x, the weight, its scales, the bias. */
const blocked: PerInput = [refuse, refuse, refuse, refuse];

/** Inputs up to the last that is there. */
function trimmed(inputs: readonly (Tensor | undefined)[]): readonly (Tensor | undefined)[] {
  return inputs.slice(0, inputs.findLastIndex((input) => input !== undefined) + 1);
}

/** A matrix [rows, columns] in blocks along its rows, one scale a block, packed as MatMulNBits reads it. */
export interface BlockWeights {
  readonly rows: number;
  readonly columns: number;
  readonly bits: 4 | 8;
  readonly block: number;
  /** uint8 [columns, blocks, block·bits/8] */
  readonly data: Uint8Array;
  /** [columns·blocks] */
  readonly scales: Float32Array;
}

/**
 * Rounds w [out, in] (PyTorch's order) to `bits` per block of `block` inputs around a zero in the middle;
 * a last block that the inputs do not fill is padded with zeros. The element of largest size takes the
 * lowest level, so that every level is used.
 * @param round what the scales are stored as, applied before the weights are rounded with them
 */
export function quantizeBlocks(
  w: Float32Array,
  shape: readonly [number, number],
  bits: 4 | 8,
  block = 32,
  round: (scale: number) => number = Math.fround,
): BlockWeights {
  const [features, inner] = shape;
  if (w.length !== features * inner) throw new ShapeError('quantizeBlocks', 'wrong size', [shape]);
  const middle = 2 ** (bits - 1);
  const blocks = Math.ceil(inner / block);
  const scales = new Float32Array(features * blocks);
  const data = new Uint8Array((features * blocks * block * bits) / 8);
  // What a padded element reads as: zero.
  data.fill(bits === 8 ? middle : middle * 0x11);
  for (let b = 0; b < scales.length; b += 1) {
    const row = Math.floor(b / blocks);
    const start = (b % blocks) * block;
    const part = w.subarray(row * inner + start, row * inner + Math.min(start + block, inner));
    let extreme = 0;
    for (const x of part) if (Math.abs(x) > Math.abs(extreme)) extreme = x;
    const scale = round(-extreme / middle);
    scales[b] = scale;
    part.forEach((x, i) => {
      const q = scale === 0 ? 0 : Math.round(x / scale);
      const level = Math.max(-middle, Math.min(q, middle - 1)) + middle;
      const at = b * block + i;
      if (bits === 8) data[at] = level;
      else if ((at & 1) === 0) data[at >> 1] = (data[at >> 1]! & 0xf0) | level;
      else data[at >> 1] = (data[at >> 1]! & 0x0f) | (level << 4);
    });
  }
  return { rows: inner, columns: features, bits, block, data, scales };
}

/** How `blockLinear` reads its weights. */
export interface BlockLayout {
  readonly bits: 4 | 8;
  readonly block: number;
  readonly columns: number;
}

/** What block weights stand for: float32 [out, in], PyTorch's order. */
export function blockValues(weights: BlockWeights): Float32Array {
  const { rows: inner, columns, bits, block, data, scales } = weights;
  const middle = 2 ** (bits - 1);
  const blocks = Math.ceil(inner / block);
  return Float32Array.from({ length: columns * inner }, (_, n) => {
    const b = Math.floor(n / inner) * blocks + Math.floor((n % inner) / block);
    const at = b * block + ((n % inner) % block);
    const level = bits === 8 ? data[at]! : (data[at >> 1]! >> (4 * (at & 1))) & 15;
    return (level - middle) * scales[b]!;
  });
}

/**
 * x […, in]·w for block weights: data uint8 [out, blocks, block·bits/8], scales [out·blocks] of x's type, plus
 * bias [out]. Each row of x is rounded to 8 bits by itself, a scale a block, so that it gives the same whatever
 * other rows there are.
 */
export function blockLinear(
  x: Tensor,
  data: Tensor,
  scales: Tensor,
  layout: BlockLayout,
  bias?: Tensor,
): Tensor {
  const inner = dim(x.shape, -1);
  const blocks = Math.ceil(inner / layout.block);
  const packed = [layout.columns, blocks, (layout.block * layout.bits) / 8];
  if (data.shape.join() !== packed.join() || dim(scales.shape, 0) !== layout.columns * blocks) {
    throw new ShapeError('blockLinear', 'the weight does not take x', [
      x.shape,
      data.shape,
      scales.shape,
    ]);
  }
  const attributes = {
    K: { int: inner },
    N: { int: layout.columns },
    bits: { int: layout.bits },
    block_size: { int: layout.block },
    accuracy_level: { int: 4 },
  };
  if (scales.dtype !== x.dtype) throw new ShapeError('blockLinear', 'scales have the type of x');
  const output = { dtype: x.dtype, shape: [...x.shape.slice(0, -1), layout.columns] };
  // Between scales and bias: zero points and an order of the inputs, neither of which is used.
  const inputs = [x, data, scales, undefined, undefined, bias];
  return emit('MatMulNBits', trimmed(inputs), output, attributes, blocked, 'com.microsoft');
}
