import { reduceSum, reshape } from './broadcast.ts';
import { add, mul, sub } from './elementwise.ts';
import { composite } from './emit.ts';
import { ShapeError } from './errors.ts';
import type { Tensor } from './graph.ts';
import { matmul, sumRows } from './linalg.ts';
import { after, isLarge } from './order.ts';
import { reduceMean } from './reduce.ts';
import { transpose } from './shape.ts';
import { dim } from './shapes.ts';
import { rsqrt } from './unary.ts';

/** Normalisations. Forward on the runtime's fused operators where there are any. */

export interface Affine {
  /** [C] */
  readonly weight?: Tensor;
  /** [C] */
  readonly bias?: Tensor;
}

export interface NormOptions {
  readonly eps: number;
}

/** (x - mean) / √(variance + eps) over the last axis, times weight, plus bias. */
export function layerNorm(x: Tensor, affine: Affine, options: NormOptions): Tensor {
  return fusedNorm('LayerNormalization', x, affine, options.eps);
}

/** x / √(mean of squares + eps) over the last axis, times weight. */
export function rmsNorm(x: Tensor, weight: Tensor | undefined, options: NormOptions): Tensor {
  const affine = weight === undefined ? {} : { weight };
  return fusedNorm('SimplifiedLayerNormalization', x, affine, options.eps);
}

type FusedNorm = 'LayerNormalization' | 'SimplifiedLayerNormalization';

function fusedNorm(op: FusedNorm, x: Tensor, { weight, bias }: Affine, eps: number): Tensor {
  const width = dim(x.shape, -1);
  for (const t of [weight, bias]) {
    if (t !== undefined && (t.shape.length !== 1 || dim(t.shape, 0) !== width)) {
      throw new ShapeError(op, 'weight and bias have the size of the last axis', [
        x.shape,
        t.shape,
      ]);
    }
  }
  const ones = (): Tensor => x.graph.constant(1, [width], x.dtype);
  // What a gradient reads has no weight in it: of a large tensor that is not worth a second node.
  const isApart = weight !== undefined && !x.graph.inference && isLarge(x);
  const { y: made, deviation } = normNode(
    op,
    x,
    isApart ? ones() : (weight ?? ones()),
    isApart ? undefined : bias,
    eps,
  );
  const scaled = isApart ? mul(made, weight) : made;
  const y = isApart && bias !== undefined ? add(scaled, bias) : scaled;
  const inputs = [x, ...(weight ? [weight] : []), ...(bias ? [bias] : [])];
  return composite(inputs, y, (dy, needed) => {
    const plain = isApart ? made : normNode(op, x, ones(), undefined, eps).y;
    const needs = new Map(inputs.map((t, i) => [t.id, needed[i] === true]));
    const wants = (t: Tensor | undefined) => t !== undefined && needs.get(t.id) === true;
    const product = mul(dy, plain);
    const ofWeight = wants(weight) ? sumRows(product) : undefined;
    const ofBias = wants(bias) ? sumRows(dy) : undefined;
    const results = new Map<Tensor, Tensor>();
    if (weight !== undefined && ofWeight !== undefined) results.set(weight, ofWeight);
    if (bias !== undefined && ofBias !== undefined) results.set(bias, ofBias);
    if (wants(x)) {
      const late = weight !== undefined && isLarge(dy) ? after(weight, ofWeight, ofBias) : weight;
      const centred = op === 'LayerNormalization';
      results.set(x, normGradient(dy, plain, product, deviation, late, centred));
    }
    return inputs.map((t) => results.get(t));
  });
}

/** The fused node; `deviation` is 1/√(variance + eps), […, 1]. */
function normNode(
  op: FusedNorm,
  x: Tensor,
  scale: Tensor,
  bias: Tensor | undefined,
  eps: number,
): { y: Tensor; deviation: Tensor } {
  const inputs = bias === undefined ? [x, scale] : [x, scale, bias];
  const one = { dtype: x.dtype, shape: [...x.shape.slice(0, -1), 1] };
  const whole = { dtype: x.dtype, shape: x.shape };
  const outputs = op === 'LayerNormalization' ? [whole, one, one] : [whole, one];
  const made = x.graph.node(op, inputs, outputs, { axis: { int: -1 }, epsilon: { float: eps } });
  const [y, deviation] = [made[0], made.at(-1)];
  if (y === undefined || deviation === undefined) throw new ShapeError(op, 'no output');
  return { y, deviation };
}

/** deviation · (g - mean(g) - plain·mean(g·plain)) with g = dy·weight; without centring no mean(g). */
function normGradient(
  dy: Tensor,
  plain: Tensor,
  product: Tensor,
  deviation: Tensor,
  weight: Tensor | undefined,
  centred: boolean,
): Tensor {
  const width = dim(dy.shape, -1);
  const g = weight === undefined ? dy : mul(dy, weight);
  // mean(dy·plain·weight) as a product with the column of weights: one pass instead of two.
  const along =
    weight === undefined
      ? reduceMean(product, [-1], true)
      : matmul(product, reshape(mul(weight, 1 / width), [width, 1]));
  const rest = sub(g, mul(plain, along));
  return mul(centred ? sub(rest, reduceMean(g, [-1], true)) : rest, deviation);
}

export interface GroupNormOptions extends NormOptions {
  readonly groups: number;
  /** 'BLC' (default): channels last, any axes between; 'BCL': channels second. */
  readonly layout?: 'BLC' | 'BCL';
}

/** Normalises each group of channels over all positions, then scales and shifts each channel. */
export function groupNorm(x: Tensor, affine: Required<Affine>, options: GroupNormOptions): Tensor {
  const last = (options.layout ?? 'BLC') === 'BLC';
  const channels = dim(x.shape, last ? -1 : 1);
  if (channels % options.groups !== 0 || x.shape.length < 3) {
    throw new ShapeError('groupNorm', `${options.groups} groups do not divide the channels`, [
      x.shape,
    ]);
  }
  if (!last) return groupNormSecond(x, affine, options);
  return x.graph.inference ? groupNormFused(x, affine, options) : groupNormLast(x, affine, options);
}

/** Channels last, each group turned into one row of a layer norm: half the nodes of `groupNormLast`. */
function groupNormFused(x: Tensor, affine: Required<Affine>, options: GroupNormOptions): Tensor {
  const [batch, channels] = [dim(x.shape, 0), dim(x.shape, -1)];
  const { groups } = options;
  const each = channels / groups;
  const apart = transpose(reshape(x, [batch, -1, groups, each]), [0, 2, 1, 3]);
  const plain = layerNorm(reshape(apart, [batch, groups, -1]), {}, options);
  const together = transpose(reshape(plain, apart.shape), [0, 2, 1, 3]);
  return add(mul(reshape(together, x.shape), affine.weight), affine.bias);
}

function groupNormSecond(x: Tensor, affine: Required<Affine>, options: GroupNormOptions): Tensor {
  const batch = dim(x.shape, 0);
  const each = [dim(x.shape, 1), ...x.shape.slice(2).map(() => 1)];
  const grouped = reshape(x, [batch, options.groups, -1]);
  const plain = reshape(layerNorm(grouped, {}, options), x.shape);
  return add(mul(plain, reshape(affine.weight, each)), reshape(affine.bias, each));
}

function groupNormLast(x: Tensor, affine: Required<Affine>, options: GroupNormOptions): Tensor {
  const { groups, eps } = options;
  const [batch, channels] = [dim(x.shape, 0), dim(x.shape, -1)];
  const { weight, bias } = affine;
  const flat = reshape(x, [batch, -1, channels]);
  // Means over positions leave [B, C]; the means over a group's channels are then small work.
  const ofGroup = (means: Tensor): Tensor => {
    const mean = reduceMean(reshape(means, [batch, groups, channels / groups]), [2], true);
    const ones = mean.graph.constant(1, [1, 1, channels / groups], x.dtype);
    return reshape(mul(mean, ones), [batch, 1, channels]);
  };
  const centred = sub(flat, ofGroup(reduceMean(flat, [1])));
  const variance = ofGroup(reduceMean(mul(centred, centred), [1]));
  const deviation = rsqrt(add(variance, eps));
  const scale = mul(deviation, weight);
  const y = add(mul(centred, scale), bias);
  return composite([x, weight, bias], reshape(y, x.shape), (dyShaped) => {
    const dy = reshape(dyShaped, flat.shape);
    // What is as large as x is multiplied as seldom as can be; the rest is [B, C].
    const along = mul(reduceMean(mul(dy, centred), [1]), reshape(deviation, [batch, channels]));
    const sums = { dy: reduceMean(dy, [1]), along };
    const positions = dim(flat.shape, 1);
    const mean = mul(ofGroup(mul(sums.dy, weight)), deviation);
    const slope = mul(ofGroup(mul(sums.along, weight)), mul(deviation, deviation));
    const dx = sub(sub(mul(dy, scale), mean), mul(centred, slope));
    return [
      reshape(dx, x.shape),
      mul(reduceSum(sums.along, [0]), positions),
      mul(reduceSum(sums.dy, [0]), positions),
    ];
  });
}
