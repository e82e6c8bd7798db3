import {
  add,
  cast,
  clamp,
  gather,
  gelu,
  groupNorm,
  layerNorm,
  linear,
  mul,
  rmsNorm,
  reshape,
  type Tensor,
} from '../tensor/index.ts';
import { fanIn, ones, zeros, type Init, type Params, type Product } from './params.ts';

/**
 * Affine layer on the last axis: x [..., in] → [..., out]. Weights are [out, in], as PyTorch has them.
 */
export function dense(
  p: Params,
  x: Tensor,
  out: number,
  options: { bias?: boolean; init?: Init; biasInit?: Init } = {},
): Tensor {
  const width = lastDim(x);
  const product =
    p.product ?? plain(p.param('weight', [out, width], options.init ?? fanIn(width), true));
  const bias =
    options.bias === false ? undefined : p.param('bias', [out], options.biasInit ?? zeros);
  return p.adapted(x, product(x, bias));
}

const plain =
  (weight: Tensor): Product =>
  (x, bias) =>
    affine(x, weight, bias);

/** The largest number that float16 holds. */
const HALF_MAX = 65_504;

/**
 * x […, in]·weightᵀ (+ bias), weight [out, in]. A float16 weight multiplies in float16 and the result has
 * x's type again, so that sums of layers, norms and biases stay in float32.
 */
export function affine(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  if (weight.dtype === x.dtype) return linear(x, weight, bias);
  const y = cast(linear(toHalf(x), weight), x.dtype);
  return bias === undefined ? y : add(y, bias);
}

/** In float16: published models have activations beyond its range here and there, which become its largest. */
export function toHalf(x: Tensor): Tensor {
  return cast(clamp(x, -HALF_MAX, HALF_MAX), 'float16');
}

/** Two affine layers with GELU between them: x [..., in] → [..., out]. */
export function mlp(p: Params, x: Tensor, hidden: number, out: number): Tensor {
  return dense(p.scope('out'), gelu(dense(p.scope('in'), x, hidden), 'tanh'), out);
}

/** Layer norm over the last axis with affine parameters. */
export function norm(p: Params, x: Tensor, eps = 1e-5): Tensor {
  const width = lastDim(x);
  return layerNorm(
    x,
    { weight: p.param('weight', [width], ones), bias: p.param('bias', [width], zeros) },
    { eps },
  );
}

/** Root-mean-square norm over the last axis (Zhang & Sennrich 2019). */
export function rms(p: Params, x: Tensor, eps: number): Tensor {
  return rmsNorm(x, p.param('weight', [lastDim(x)], ones), { eps });
}

/** Group norm of x [B, L, C], over L and the channels of a group (Wu & He 2018). */
export function groups(p: Params, x: Tensor, count: number, eps = 1e-5): Tensor {
  const width = lastDim(x);
  return groupNorm(
    x,
    { weight: p.param('weight', [width], ones), bias: p.param('bias', [width], zeros) },
    { groups: count, eps },
  );
}

/** Rows of an embedding table: ids i64 [...] → f32 [..., width]. */
export function embedding(table: Tensor, ids: Tensor): Tensor {
  return cast(gather(table, ids, 0), 'float32');
}

/** Feature-wise modulation x·(1 + scale) + shift (Perez et al. 2018); scale and shift are [B, C]. */
export function modulate(x: Tensor, scale: Tensor, shift: Tensor): Tensor {
  const shape = [x.shape[0] ?? 1, ...x.shape.slice(1, -1).map(() => 1), lastDim(x)];
  return add(mul(x, add(reshape(scale, shape), 1)), reshape(shift, shape));
}

export function lastDim(x: Tensor): number {
  const width = x.shape[x.shape.length - 1];
  if (width === undefined) throw new RangeError('a scalar has no last axis');
  return width;
}
