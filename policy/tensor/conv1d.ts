import { reshape } from './broadcast.ts';
import { composite } from './emit.ts';
import { ShapeError } from './errors.ts';
import type { Tensor } from './graph.ts';
import { gemm, overRows, rows, sumRows } from './linalg.ts';
import { concat, pad, slice, transpose } from './shape.ts';
import { dim } from './shapes.ts';
import { windows } from './windows.ts';
import { paysInTiles, tiledConv1d, withBias } from './winograd.ts';

/**
 * Convolutions over sequences, channels last: windows side by side and one product, which in training beats the
 * runtime's Conv (its weight gradient above all); with large batches tiles beat both. Inside, weights are
 * [k, in, out].
 */

export interface Conv1dOptions {
  readonly stride?: number;
  readonly padding?: number;
  /** [out] */
  readonly bias?: Tensor;
  /** 'kio' (default): w is [kernel, in, out]; 'oik': [out, in, kernel], as PyTorch has it. */
  readonly weight?: 'kio' | 'oik';
}

export interface ConvTranspose1dOptions {
  readonly stride?: number;
  readonly padding?: number;
  /** [out] */
  readonly bias?: Tensor;
  /** 'koi' (default): w is [kernel, out, in]; 'iok': [in, out, kernel], as PyTorch has it. */
  readonly weight?: 'koi' | 'iok';
}

/** How the positions of the long side [B, long, C] and the short side [B, short, O] meet. */
interface Geometry {
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly long: number;
  readonly short: number;
}

/** x [B, L, in] → [B, ⌊(L + 2·padding - kernel) / stride⌋ + 1, out]. */
export function conv1d(x: Tensor, w: Tensor, options: Conv1dOptions = {}): Tensor {
  const weight = options.weight === 'oik' ? transpose(w, [2, 1, 0]) : w;
  const { stride = 1, padding = 0, bias } = options;
  const [kernel, long] = [dim(weight.shape, 0), dim(x.shape, 1)];
  const short = Math.floor((long + 2 * padding - kernel) / stride) + 1;
  if (
    x.shape.length !== 3 ||
    weight.shape.length !== 3 ||
    dim(x.shape, 2) !== dim(weight.shape, 1) ||
    short < 1
  ) {
    throw new ShapeError('conv1d', 'x is [B, L, in], the weight fits it', [x.shape, w.shape]);
  }
  const axis = { kernel, padding, from: long, to: short };
  if (stride === 1 && paysInTiles(x, [axis], dim(weight.shape, 2))) {
    return withBias(tiledConv1d(x, weight, axis), bias);
  }
  const geometry = { kernel, stride, padding, long, short };
  const { y, columns } = gathered(x, weight, bias, geometry);
  const inputs = bias === undefined ? [x, weight] : [x, weight, bias];
  return composite(inputs, y, (dy, needed) => [
    needed[0] === true ? scattered(dy, weight, undefined, geometry) : undefined,
    needed[1] === true ? reshape(overRows(rows(columns), rows(dy)), weight.shape) : undefined,
    needed[2] === true ? sumRows(dy) : undefined,
  ]);
}

/** x [B, L, in] → [B, (L - 1)·stride - 2·padding + kernel, out]. */
export function convTranspose1d(
  x: Tensor,
  w: Tensor,
  options: ConvTranspose1dOptions = {},
): Tensor {
  const weight = options.weight === 'iok' ? transpose(w, [2, 1, 0]) : w;
  const { stride = 1, padding = 0, bias } = options;
  const [kernel, short] = [dim(weight.shape, 0), dim(x.shape, 1)];
  const long = (short - 1) * stride - 2 * padding + kernel;
  if (
    x.shape.length !== 3 ||
    weight.shape.length !== 3 ||
    dim(x.shape, 2) !== dim(weight.shape, 2) ||
    long < 1
  ) {
    throw new ShapeError('convTranspose1d', 'x is [B, L, in], the weight fits it', [
      x.shape,
      w.shape,
    ]);
  }
  const geometry = { kernel, stride, padding, long, short };
  const y = scattered(x, weight, bias, geometry);
  const inputs = bias === undefined ? [x, weight] : [x, weight, bias];
  return composite(inputs, y, (dy, needed) => {
    const back = gathered(dy, weight, undefined, geometry);
    return [
      needed[0] === true ? back.y : undefined,
      needed[1] === true ? reshape(overRows(rows(back.columns), rows(x)), weight.shape) : undefined,
      needed[2] === true ? sumRows(dy) : undefined,
    ];
  });
}

/** Long to short side: y[i] = Σ_t x[i·stride + t - padding]·w[t]. */
function gathered(
  x: Tensor,
  w: Tensor,
  bias: Tensor | undefined,
  geometry: Geometry,
): { y: Tensor; columns: Tensor } {
  const columns = columnsOf(x, geometry);
  const [batch, features] = [dim(x.shape, 0), dim(w.shape, 2)];
  const product = gemm(rows(columns), reshape(w, [-1, features]), {}, bias);
  return { y: reshape(product, [batch, geometry.short, features]), columns };
}

/** The inputs of every output position side by side: [B, short, kernel·C]. */
function columnsOf(x: Tensor, geometry: Geometry): Tensor {
  const { kernel, stride, padding, long, short } = geometry;
  const [batch, channels] = [dim(x.shape, 0), dim(x.shape, 2)];
  const shifts = Math.ceil(kernel / stride);
  // `stride` neighbours form one row of a coarser sequence, in which the window moves by single steps.
  const coarse = short + shifts - 1;
  const room = fit(x, padding, coarse * stride - padding - long);
  const grouped = reshape(room, [batch, coarse, stride * channels]);
  if (kernel % stride === 0) return windows(grouped, sliding(short, shifts));
  const parts = Array.from({ length: shifts }, (_, j) => {
    const taps = Math.min(stride, kernel - j * stride);
    return slice(slice(grouped, 1, j, j + short), 2, 0, taps * channels);
  });
  return concat(parts, 2);
}

/** Positions p, p + 1, … p + taps - 1 for each p below `count`. */
function sliding(count: number, taps: number): number[][] {
  return Array.from({ length: count }, (_, p) => Array.from({ length: taps }, (_, t) => p + t));
}

/** Positions p + shifts - 1, p + shifts - 2, … `taps` of them, for each p below `count`. */
function backwards(count: number, shifts: number, taps: number): number[][] {
  return Array.from({ length: count }, (_, p) =>
    Array.from({ length: taps }, (_, t) => p + shifts - 1 - t),
  );
}

/** x [B, L, C] with `before` zeros in front and `after` behind; negative `after` cuts. */
function fit(x: Tensor, before: number, after: number): Tensor {
  const cut = after < 0 ? slice(x, 1, 0, dim(x.shape, 1) + after) : x;
  return pad(cut, [
    [0, 0],
    [before, Math.max(after, 0)],
    [0, 0],
  ]);
}

/** Short to long side: x[i·stride + t - padding] += y[i]·w[t]ᵀ, one product for every phase of the stride. */
function scattered(y: Tensor, w: Tensor, bias: Tensor | undefined, geometry: Geometry): Tensor {
  const { kernel, stride, padding, long, short } = geometry;
  const [batch, channels, features] = [dim(y.shape, 0), dim(w.shape, 1), dim(w.shape, 2)];
  const shifts = Math.ceil(kernel / stride);
  const coarse = short + shifts - 1;
  if (kernel === stride && bias === undefined) {
    const spread = gemm(rows(y), reshape(w, [kernel * channels, features]), { transB: true });
    return placed(reshape(spread, [batch, coarse * stride, channels]), padding, long);
  }
  const turned = transpose(w, [0, 2, 1]);
  if (stride === 1 && padding < kernel) {
    // The padding is left out at once instead of being computed and cut off.
    const margin = kernel - 1 - padding;
    const columns = windows(fit(y, margin, margin), backwards(long, kernel, kernel));
    const product = gemm(rows(columns), reshape(turned, [kernel * features, channels]), {}, bias);
    return reshape(product, [batch, long, channels]);
  }
  const room = fit(y, shifts - 1, shifts - 1);
  const phases = Array.from({ length: Math.min(stride, kernel) }, (_, phase) => {
    const taps = slice(turned, 0, phase, kernel, stride);
    const count = dim(taps.shape, 0);
    const columns = windows(room, backwards(coarse, shifts, count));
    const product = gemm(rows(columns), reshape(taps, [count * features, channels]), {}, bias);
    return reshape(product, [batch, coarse, channels]);
  });
  if (phases.length < stride)
    throw new ShapeError('conv1d', `stride ${stride} passes kernel ${kernel}`);
  return placed(reshape(concat(phases, 2), [batch, coarse * stride, channels]), padding, long);
}

/** The positions that exist on the long side; ones no window reaches are zero. */
function placed(x: Tensor, padding: number, long: number): Tensor {
  const whole = dim(x.shape, 1);
  const inside = slice(x, 1, padding, Math.min(padding + long, whole));
  return fit(inside, 0, long - dim(inside.shape, 1));
}
