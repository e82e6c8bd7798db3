import { expand, reduceSum, reshape } from './broadcast.ts';
import { div, mul, sub } from './elementwise.ts';
import { composite } from './emit.ts';
import { ShapeError } from './errors.ts';
import type { Tensor } from './graph.ts';
import { gatherElements, scatterAdd } from './gather.ts';
import { rows } from './linalg.ts';
import { cast, equal, maximum, not, where } from './logic.ts';
import { logSoftmax, reduceMean } from './reduce.ts';
import { dim, sameShape, sizeOf } from './shapes.ts';
import { exp, neg } from './unary.ts';

/** Losses. */

export interface CrossEntropyOptions {
  /** Labels that do not count; default -100. */
  readonly ignoreIndex?: number;
  /** 'mean' (default) divides by the number of labels that count, or by 1 where none does. */
  readonly reduction?: 'mean' | 'sum' | 'none';
}

/** -log softmax(logits)[label]: logits […, V], labels int64 […] → scalar, or […] for 'none'. */
export function crossEntropy(
  logits: Tensor,
  labels: Tensor,
  options: CrossEntropyOptions = {},
): Tensor {
  if (!sameShape(logits.shape.slice(0, -1), labels.shape) || labels.dtype !== 'int64') {
    throw new ShapeError('crossEntropy', 'labels are int64, one a row of logits', [
      logits.shape,
      labels.shape,
    ]);
  }
  const count = sizeOf(labels.shape);
  const reduction = options.reduction ?? 'mean';
  const label = reshape(labels, [count, 1]);
  const valid = not(equal(label, options.ignoreIndex ?? -100));
  const safe = where(valid, label, 0);
  const weight = cast(valid, logits.dtype);
  const logs = logSoftmax(rows(logits), 1);
  const losses = mul(neg(gatherElements(logs, safe, 1)), weight);
  const counted = reduction === 'mean' ? maximum(reduceSum(weight), 1) : undefined;
  const y = reduced(losses, counted, reduction, labels.shape);
  return composite([logits], y, (dy) => {
    const each = reduction === 'none' ? reshape(dy, [count, 1]) : reshape(dy, [1, 1]);
    const share = counted === undefined ? each : div(each, counted);
    const minus = label.graph.constant(-1, [], logits.dtype);
    // softmax - one-hot: one element a row changes.
    const error = scatterAdd(exp(logs), safe, expand(minus, [count, 1]), 1);
    return [reshape(mul(error, mul(weight, share)), logits.shape)];
  });
}

function reduced(
  losses: Tensor,
  counted: Tensor | undefined,
  reduction: 'mean' | 'sum' | 'none',
  shape: readonly number[],
): Tensor {
  if (reduction === 'none') return sameShape(losses.shape, shape) ? losses : reshape(losses, shape);
  const sum = reduceSum(losses);
  return counted === undefined ? sum : div(sum, counted);
}

/** Mean of (prediction - target)² over all elements. */
export function mse(prediction: Tensor, target: Tensor): Tensor {
  const error = sub(prediction, target);
  return reduceMean(mul(error, error));
}

/**
 * Mean of mask·(prediction - target)², mask 0/1 of the prediction's rank with size 1 where it repeats:
 * over the elements kept (none: 0), or over all elements, masked ones as 0.
 */
export function maskedMse(
  prediction: Tensor,
  target: Tensor,
  mask: Tensor,
  over: 'kept' | 'all',
): Tensor {
  if (mask.shape.length !== prediction.shape.length) {
    throw new ShapeError('maskedMse', 'the mask has another rank', [prediction.shape, mask.shape]);
  }
  const weight = cast(mask, prediction.dtype);
  const error = sub(prediction, target);
  const kept = mul(mul(error, error), weight);
  if (over === 'all') return reduceMean(kept);
  const repeats = mask.shape.reduce((n, d, i) => (d === 1 ? n * dim(prediction.shape, i) : n), 1);
  return div(reduceSum(kept), maximum(mul(reduceSum(weight), repeats), 1));
}
