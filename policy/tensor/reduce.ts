import { expand, reduceSum, reshape } from './broadcast.ts';
import { div, mul, sub } from './elementwise.ts';
import { emit, indices } from './emit.ts';
import type { Tensor } from './graph.ts';
import { cast, equal } from './logic.ts';
import { axesOf, axisOf, dim, reducedShape } from './shapes.ts';
import { exp } from './unary.ts';

/** Reductions and softmax. */

/** Mean over `axes` (all when absent). */
export function reduceMean(x: Tensor, axes?: readonly number[], keepdims = false): Tensor {
  const over = axesOf('reduceMean', axes ?? x.shape.map((_, i) => i), x.shape.length);
  if (over.length === 0) return x;
  const count = over.reduce((n, a) => n * dim(x.shape, a), 1);
  return emit(
    'ReduceMean',
    [x, indices(x.graph, over)],
    { dtype: x.dtype, shape: reducedShape(x.shape, over, keepdims) },
    { keepdims: { int: keepdims ? 1 : 0 } },
    [(dy) => expand(reshape(mul(dy, 1 / count), reducedShape(x.shape, over, true)), x.shape), null],
  );
}

/** Largest over `axes` (all when absent); the gradient is shared among equal ones. */
export function reduceMax(x: Tensor, axes?: readonly number[], keepdims = false): Tensor {
  const over = axesOf('reduceMax', axes ?? x.shape.map((_, i) => i), x.shape.length);
  if (over.length === 0) return x;
  const kept = reducedShape(x.shape, over, true);
  const y: Tensor = emit(
    'ReduceMax',
    [x, indices(x.graph, over)],
    { dtype: x.dtype, shape: reducedShape(x.shape, over, keepdims) },
    { keepdims: { int: keepdims ? 1 : 0 } },
    [
      (dy) => {
        const hit = cast(equal(x, reshape(y, kept)), x.dtype);
        const share = div(reshape(dy, kept), reduceSum(hit, over, true));
        return mul(hit, share);
      },
      null,
    ],
  );
  return y;
}

/** Index (int64) of the first largest element along an axis. */
export function argmax(x: Tensor, axis = -1, keepdims = false): Tensor {
  const at = axisOf('argmax', axis, x.shape.length);
  return emit(
    'ArgMax',
    [x],
    { dtype: 'int64', shape: reducedShape(x.shape, [at], keepdims) },
    { axis: { int: at }, keepdims: { int: keepdims ? 1 : 0 } },
  );
}

/** e^x normalised along an axis, with the maximum subtracted first. */
export function softmax(x: Tensor, axis = -1): Tensor {
  const at = axisOf('softmax', axis, x.shape.length);
  const y: Tensor = emit(
    'Softmax',
    [x],
    { dtype: x.dtype, shape: x.shape },
    { axis: { int: at } },
    [(dy) => mul(y, sub(dy, reduceSum(mul(dy, y), [at], true)))],
  );
  return y;
}

/** log(softmax(x)), without taking the logarithm of an underflow. */
export function logSoftmax(x: Tensor, axis = -1): Tensor {
  const at = axisOf('logSoftmax', axis, x.shape.length);
  const output = { dtype: x.dtype, shape: x.shape };
  const y: Tensor = emit('LogSoftmax', [x], output, { axis: { int: at } }, [
    (dy) => sub(dy, mul(exp(y), reduceSum(dy, [at], true))),
  ]);
  return y;
}
