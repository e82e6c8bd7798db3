import { emit, indices } from './emit.ts';
import { ShapeError } from './errors.ts';
import type { Graph, Tensor } from './graph.ts';
import { axesOf, broadcast, reducedShape, sameShape, sizeOf } from './shapes.ts';

/** Operations that change extents only: reshape, expand, sum, and the gradient of broadcasting. */

/**
 * The same elements in another shape. One dimension may be -1 (what is left; inside a loop body it may
 * be one that is not known). Throws ShapeError if the sizes differ.
 */
export function reshape(x: Tensor, shape: readonly number[]): Tensor {
  const known = sizeOf(x.shape.map((d) => (d === -1 ? 1 : d)));
  const dynamic = x.shape.includes(-1);
  const holes = shape.filter((d) => d === -1).length;
  const rest = sizeOf(shape.filter((d) => d !== -1));
  if (holes > 1) throw new ShapeError('reshape', 'more than one -1', [x.shape, shape]);
  let target = [...shape];
  if (!dynamic && holes === 1) {
    if (rest === 0 || known % rest !== 0) {
      throw new ShapeError('reshape', 'the sizes do not divide', [x.shape, shape]);
    }
    target = shape.map((d) => (d === -1 ? known / rest : d));
  }
  if (dynamic ? holes === 0 : sizeOf(target) !== known) {
    throw new ShapeError('reshape', 'the sizes differ', [x.shape, shape]);
  }
  if (!dynamic && sameShape(x.shape, target)) return x;
  return emit('Reshape', [x, indices(x.graph, target)], { dtype: x.dtype, shape: target }, {}, [
    (dy) => reshape(dy, x.shape),
    null,
  ]);
}

/** x repeated along its dimensions of size 1, and along new leading ones, to `shape`. */
export function expand(x: Tensor, shape: readonly number[]): Tensor {
  if (!sameShape(broadcast('expand', x.shape, shape), shape)) {
    throw new ShapeError('expand', 'the shape does not take it', [x.shape, shape]);
  }
  if (sameShape(x.shape, shape)) return x;
  return emit('Expand', [x, indices(x.graph, shape)], { dtype: x.dtype, shape }, {}, [
    (dy) => unbroadcast(dy, x.shape),
    null,
  ]);
}

/** Sum over `axes` (all when absent). */
export function reduceSum(x: Tensor, axes?: readonly number[], keepdims = false): Tensor {
  const over = axesOf('reduceSum', axes ?? x.shape.map((_, i) => i), x.shape.length);
  if (over.length === 0) return x;
  return emit(
    'ReduceSum',
    [x, indices(x.graph, over)],
    { dtype: x.dtype, shape: reducedShape(x.shape, over, keepdims) },
    { keepdims: { int: keepdims ? 1 : 0 } },
    [(dy) => expand(reshape(dy, reducedShape(x.shape, over, true)), x.shape), null],
  );
}

/** The gradient of a value that was broadcast from `shape`: sums what was repeated. */
export function unbroadcast(dy: Tensor, shape: readonly number[]): Tensor {
  if (sameShape(dy.shape, shape)) return dy;
  const lead = dy.shape.length - shape.length;
  const axes = dy.shape.flatMap((d, i) =>
    i < lead || (shape[i - lead] === 1 && d !== 1) ? [i] : [],
  );
  return reshape(reduceSum(dy, axes), shape);
}

/** A tensor filled with one number, made while running so that it takes no room in the model. */
export function filled(
  graph: Graph,
  value: number,
  shape: readonly number[],
  dtype: Tensor['dtype'] = 'float32',
): Tensor {
  return expand(graph.constant(value, [], dtype), shape);
}
