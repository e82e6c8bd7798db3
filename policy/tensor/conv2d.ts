import { reduceSum, reshape } from './broadcast.ts';
import { composite, emit } from './emit.ts';
import { ShapeError } from './errors.ts';
import type { Tensor } from './graph.ts';
import { gemm, overRows, rows, sumRows } from './linalg.ts';
import { after, isLarge } from './order.ts';
import { concat, pad, slice, transpose } from './shape.ts';
import { dim } from './shapes.ts';
import { windows } from './windows.ts';
import { paysInTiles, tiledConv2d, withBias, type Axis } from './winograd.ts';

/**
 * Convolutions over images with square kernels. Channels last: windows side by side and one product, or in
 * training of large batches tiles. Channels second: the runtime's Conv, its input gradient by ConvTranspose. The
 * weight gradient is one product in both.
 */

export interface Conv2dOptions {
  readonly stride?: number;
  readonly padding?: number;
  /** [out] */
  readonly bias?: Tensor;
  /** 'NHWC' (default): x is [B, H, W, in]; 'NCHW': [B, in, H, W]. */
  readonly layout?: 'NHWC' | 'NCHW';
  /** 'hwio': w is [kernel, kernel, in, out] (default for NHWC); 'oihw': [out, in, kernel, kernel] (default for NCHW). */
  readonly weight?: 'hwio' | 'oihw';
}

interface Geometry {
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  /** Height and width of the input and of the output. */
  readonly from: readonly [number, number];
  readonly to: readonly [number, number];
}

/** Each side becomes ⌊(side + 2·padding - kernel) / stride⌋ + 1; layout as the input's. */
export function conv2d(x: Tensor, w: Tensor, options: Conv2dOptions = {}): Tensor {
  const layout = options.layout ?? 'NHWC';
  const given = options.weight ?? (layout === 'NHWC' ? 'hwio' : 'oihw');
  if (x.shape.length !== 4 || w.shape.length !== 4) {
    throw new ShapeError('conv2d', 'needs an image batch and a square kernel', [x.shape, w.shape]);
  }
  const last = layout === 'NHWC';
  const [kernel, kernelWidth] =
    given === 'hwio' ? [dim(w.shape, 0), dim(w.shape, 1)] : [dim(w.shape, 2), dim(w.shape, 3)];
  const inputs = dim(w.shape, given === 'hwio' ? 2 : 1);
  const { stride = 1, padding = 0 } = options;
  const from: [number, number] = [dim(x.shape, last ? 1 : 2), dim(x.shape, last ? 2 : 3)];
  const side = (s: number) => Math.floor((s + 2 * padding - kernel) / stride) + 1;
  const geometry = { kernel, stride, padding, from, to: [side(from[0]), side(from[1])] as const };
  const channels = dim(x.shape, last ? 3 : 1);
  if (
    kernel !== kernelWidth ||
    channels !== inputs ||
    geometry.to.some((s) => s < 1) ||
    stride > kernel
  ) {
    throw new ShapeError('conv2d', 'the kernel does not fit the images', [x.shape, w.shape]);
  }
  if (last) {
    const weight = given === 'hwio' ? w : transpose(w, [2, 3, 1, 0]);
    return convLast(x, weight, options.bias, geometry);
  }
  const weight = given === 'oihw' ? w : transpose(w, [3, 2, 0, 1]);
  return convSecond(x, weight, options.bias, geometry);
}

function convLast(x: Tensor, w: Tensor, bias: Tensor | undefined, geometry: Geometry): Tensor {
  const features = dim(w.shape, 3);
  const { kernel, stride, padding, from, to } = geometry;
  const along = (i: 0 | 1): Axis => ({ kernel, padding, from: from[i], to: to[i] });
  const [down, across] = [along(0), along(1)];
  if (stride === 1 && paysInTiles(x, [down, across], features)) {
    return withBias(tiledConv2d(x, w, down, across), bias);
  }
  const columns = columnsOf(x, geometry);
  const product = gemm(rows(columns), reshape(w, [-1, features]), {}, bias);
  const y = reshape(product, [dim(x.shape, 0), ...geometry.to, features]);
  const inputs = bias === undefined ? [x, w] : [x, w, bias];
  return composite(inputs, y, (dy, needed) => {
    const ofBias = needed[2] === true ? sumRows(dy) : undefined;
    const ofWeight =
      needed[1] === true ? reshape(overRows(rows(columns), rows(dy)), w.shape) : undefined;
    const weight = isLarge(dy) ? after(w, ofWeight, ofBias) : w;
    return [needed[0] === true ? scattered(dy, weight, geometry) : undefined, ofWeight, ofBias];
  });
}

function convSecond(x: Tensor, w: Tensor, bias: Tensor | undefined, geometry: Geometry): Tensor {
  const { kernel, stride, padding, from, to } = geometry;
  const batch = dim(x.shape, 0);
  const shared = {
    kernel_shape: { ints: [kernel, kernel] },
    strides: { ints: [stride, stride] },
    pads: { ints: [padding, padding, padding, padding] },
  };
  const inputs = bias === undefined ? [x, w] : [x, w, bias];
  const y = emit(
    'Conv',
    inputs,
    { dtype: x.dtype, shape: [batch, dim(w.shape, 0), ...to] },
    shared,
  );
  return composite(inputs, y, (dy, needed) => {
    const toInput = () => {
      const missing = from.map((s, i) => s - ((to[i] ?? 0) - 1) * stride + 2 * padding - kernel);
      const attributes = { ...shared, output_padding: { ints: missing } };
      return emit('ConvTranspose', [dy, w], { dtype: x.dtype, shape: x.shape }, attributes);
    };
    const toWeight = () => {
      const columns = columnsOf(transpose(x, [0, 2, 3, 1]), geometry);
      const upstream = rows(transpose(dy, [0, 2, 3, 1]));
      const product = gemm(upstream, rows(columns), { transA: true });
      const [o, i] = [dim(w.shape, 0), dim(w.shape, 1)];
      return transpose(reshape(product, [o, kernel, kernel, i]), [0, 3, 1, 2]);
    };
    return [
      needed[0] === true ? toInput() : undefined,
      needed[1] === true ? toWeight() : undefined,
      needed[2] === true ? reduceSum(dy, [0, 2, 3]) : undefined,
    ];
  });
}

/** The inputs of every output position side by side: [B, Ho, Wo, kernel·kernel·C], rows of the kernel first. */
function columnsOf(x: Tensor, geometry: Geometry): Tensor {
  const { kernel, stride, padding, from, to } = geometry;
  const [batch, channels] = [dim(x.shape, 0), dim(x.shape, 3)];
  if (kernel === stride && padding === 0) {
    const whole = slice(slice(x, 1, 0, to[0] * kernel), 2, 0, to[1] * kernel);
    const apart = reshape(whole, [batch, to[0], kernel, to[1], kernel * channels]);
    return reshape(transpose(apart, [0, 1, 3, 2, 4]), [batch, ...to, kernel * kernel * channels]);
  }
  if (from.some((s) => s + 2 * padding < kernel))
    throw new ShapeError('conv2d', 'the kernel passes the image', [x.shape]);
  const forward = Array.from({ length: kernel }, (_, t) => t);
  return patches(surrounded(x, padding, padding), to, stride, forward, forward);
}

/**
 * For every cell (i, j) of `size`, the places (i·stride + down, j·stride + across) of x [B, H, W, C]
 * side by side, `down` slowest: [B, …size, down·across·C].
 */
function patches(
  x: Tensor,
  size: readonly [number, number],
  stride: number,
  down: readonly number[],
  across: readonly number[],
): Tensor {
  const [batch, height, width, channels] = [0, 1, 2, 3].map((axis) => dim(x.shape, axis)) as [
    number,
    number,
    number,
    number,
  ];
  const taps = Array.from({ length: size[0] * size[1] }, (_, cell) => {
    const [top, left] = [Math.floor(cell / size[1]) * stride, (cell % size[1]) * stride];
    return down.flatMap((a) => across.map((b) => (top + a) * width + left + b));
  });
  const flat = reshape(x, [batch, height * width, channels]);
  return reshape(windows(flat, taps), [batch, ...size, down.length * across.length * channels]);
}

/** x [B, H, W, C] with zeros around. */
function surrounded(x: Tensor, before: number, after: number): Tensor {
  return pad(x, [
    [0, 0],
    [before, after],
    [before, after],
    [0, 0],
  ]);
}

/** Output back to input positions: one product for every phase of the stride, then the phases interleaved. */
function scattered(dy: Tensor, w: Tensor, geometry: Geometry): Tensor {
  const { kernel, stride, padding, from, to } = geometry;
  const [batch, channels, features] = [dim(dy.shape, 0), dim(w.shape, 2), dim(w.shape, 3)];
  const shifts = Math.ceil(kernel / stride);
  const coarse: [number, number] = [to[0] + shifts - 1, to[1] + shifts - 1];
  if (kernel === stride) {
    const spread = gemm(rows(dy), reshape(w, [-1, features]), { transB: true });
    return placed(reshape(spread, [batch, ...to, stride, stride, channels]), geometry);
  }
  if (stride === 1) {
    // The padding is left out at once instead of being cut off afterwards.
    const room = around(dy, kernel - 1 - padding);
    const back = Array.from({ length: kernel }, (_, t) => kernel - 1 - t);
    const columns = patches(room, from, 1, back, back);
    const turned = reshape(transpose(w, [0, 1, 3, 2]), [-1, channels]);
    return reshape(gemm(rows(columns), turned), [batch, ...from, channels]);
  }
  const room = surrounded(dy, shifts - 1, shifts - 1);
  const turned = transpose(w, [0, 1, 3, 2]);
  const phases = Array.from({ length: stride * stride }, (_, phase) => {
    const [a, b] = [Math.floor(phase / stride), phase % stride];
    const taps = slice(slice(turned, 0, a, kernel, stride), 1, b, kernel, stride);
    const [down, across] = [dim(taps.shape, 0), dim(taps.shape, 1)];
    const back = (count: number) => Array.from({ length: count }, (_, t) => shifts - 1 - t);
    const columns = patches(room, coarse, 1, back(down), back(across));
    const product = gemm(rows(columns), reshape(taps, [down * across * features, channels]));
    return reshape(product, [batch, ...coarse, channels]);
  });
  return placed(reshape(concat(phases, 3), [batch, ...coarse, stride, stride, channels]), geometry);
}

/** Zeros around x, or with a negative margin that much less of it. */
function around(x: Tensor, margin: number): Tensor {
  if (margin >= 0) return surrounded(x, margin, margin);
  const [height, width] = [dim(x.shape, 1), dim(x.shape, 2)];
  return slice(slice(x, 1, -margin, height + margin), 2, -margin, width + margin);
}

/** Phases [B, h, w, stride, stride, C] interleaved, cut to the input's extent. */
function placed(x: Tensor, geometry: Geometry): Tensor {
  const { stride, padding, from } = geometry;
  const [batch, h, w, channels] = [
    dim(x.shape, 0),
    dim(x.shape, 1),
    dim(x.shape, 2),
    dim(x.shape, 5),
  ];
  const flat = reshape(transpose(x, [0, 1, 3, 2, 4, 5]), [batch, h * stride, w * stride, channels]);
  const inside = [1, 2].reduce((part, axis) => {
    const end = padding + (from[axis - 1] ?? 0);
    return slice(part, axis, padding, Math.min(end, dim(part.shape, axis)));
  }, flat);
  return pad(inside, [
    [0, 0],
    [0, from[0] - dim(inside.shape, 1)],
    [0, from[1] - dim(inside.shape, 2)],
    [0, 0],
  ]);
}
