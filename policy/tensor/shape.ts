import { reshape } from './broadcast.ts';
import { emit, indices } from './emit.ts';
import { ShapeError } from './errors.ts';
import type { Gradient, Tensor } from './graph.ts';
import { filled } from './broadcast.ts';
import { axisOf, dim, inverseOrder, sameShape, withDim } from './shapes.ts';

/** Rearranging elements: transpose, concat, split, slice, pad, repeat. */

/** Axes in another order: result axis i is x's axis perm[i]. */
export function transpose(x: Tensor, perm: readonly number[]): Tensor {
  const order = perm.map((p) => axisOf('transpose', p, x.shape.length));
  if (order.length !== x.shape.length || new Set(order).size !== order.length) {
    throw new ShapeError('transpose', `${perm.join()} is no order of the axes`, [x.shape]);
  }
  if (order.every((p, i) => p === i)) return x;
  return emit(
    'Transpose',
    [x],
    { dtype: x.dtype, shape: order.map((p) => dim(x.shape, p)) },
    { perm: { ints: order } },
    [(dy) => transpose(dy, inverseOrder(order))],
  );
}

/** Tensors one after the other along an axis. */
export function concat(xs: readonly Tensor[], axis: number): Tensor {
  const [first] = xs;
  if (first === undefined) throw new ShapeError('concat', 'no tensors');
  if (xs.length === 1) return first;
  const at = axisOf('concat', axis, first.shape.length);
  const shapes = xs.map((x) => x.shape);
  for (const x of xs) {
    const fits = sameShape(withDim(x.shape, at, 1), withDim(first.shape, at, 1));
    if (!fits || x.dtype !== first.dtype) {
      throw new ShapeError('concat', `shapes or types differ beside axis ${at}`, shapes);
    }
  }
  const sizes = shapes.map((s) => dim(s, at));
  const total = sizes.includes(-1) ? -1 : sizes.reduce((a, b) => a + b, 0);
  const output = { dtype: first.dtype, shape: withDim(first.shape, at, total) };
  const attributes = { axis: { int: at } };
  const vjp = ([dy]: readonly (Tensor | undefined)[], needed: readonly boolean[]) => {
    if (dy === undefined) return xs.map(() => undefined);
    if (needed.every((n) => n)) return split(dy, sizes, at);
    let start = 0;
    return xs.map((_, i) => {
      const from = start;
      start += sizes[i] ?? 0;
      return needed[i] === true ? slice(dy, at, from, start) : undefined;
    });
  };
  const graph = xs.reduce((g, x) => (x.graph.depth > g.depth ? x.graph : g), first.graph);
  const [y] = graph.node('Concat', xs, [output], attributes, vjp);
  if (y === undefined) throw new ShapeError('concat', 'no output');
  return y;
}

/** Pieces of the given sizes along an axis. */
export function split(x: Tensor, sizes: readonly number[], axis: number): readonly Tensor[] {
  const at = axisOf('split', axis, x.shape.length);
  if (sizes.reduce((a, b) => a + b, 0) !== dim(x.shape, at)) {
    throw new ShapeError('split', `sizes ${sizes.join()} do not fill axis ${at}`, [x.shape]);
  }
  if (sizes.length === 1) return [x];
  const outputs = sizes.map((s) => ({ dtype: x.dtype, shape: withDim(x.shape, at, s) }));
  const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((a, b) => a + b, 0));
  return x.graph.node(
    'Split',
    [x, indices(x.graph, sizes)],
    outputs,
    { axis: { int: at } },
    (upstream) => {
      if (upstream.some((d) => d === undefined)) {
        return [joinPieces(x, at, upstream, starts), undefined];
      }
      return [
        concat(
          upstream.filter((d): d is Tensor => d !== undefined),
          at,
        ),
        undefined,
      ];
    },
  );
}

function joinPieces(
  x: Tensor,
  axis: number,
  upstream: readonly (Tensor | undefined)[],
  starts: readonly number[],
): Gradient {
  const parts = upstream.flatMap((value, i) =>
    value === undefined ? [] : [{ axis, start: starts[i] ?? 0, value }],
  );
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : assemble(x, axis, parts);
}

/** Disjoint pieces and zeros between them, side by side along one axis. */
export function assemble(
  like: Pick<Tensor, 'shape' | 'dtype'>,
  axis: number,
  pieces: readonly { readonly start: number; readonly value: Tensor }[],
): Tensor {
  const parts: Tensor[] = [];
  const [first] = pieces;
  if (first === undefined) throw new ShapeError('assemble', 'no pieces');
  let end = 0;
  const gap = (to: number) => {
    if (to > end) {
      parts.push(filled(first.value.graph, 0, withDim(like.shape, axis, to - end), like.dtype));
    }
  };
  for (const piece of [...pieces].sort((a, b) => a.start - b.start)) {
    gap(piece.start);
    parts.push(piece.value);
    end = piece.start + dim(piece.value.shape, axis);
  }
  gap(dim(like.shape, axis));
  return concat(parts, axis);
}

/**
 * Elements start, start+step, … before end along an axis. Negative start and end count from the back;
 * end past the axis means its end. `step` is 1 or more.
 */
export function slice(x: Tensor, axis: number, start: number, end: number, step = 1): Tensor {
  const at = axisOf('slice', axis, x.shape.length);
  const size = dim(x.shape, at);
  if (!Number.isInteger(step) || step < 1) throw new ShapeError('slice', `step ${step}`, [x.shape]);
  if (size === -1) return dynamicSlice(x, at, start, end, step);
  const from = start < 0 ? start + size : start;
  const to = Math.min(end < 0 ? end + size : end, size);
  if (from < 0 || to < from) {
    throw new ShapeError('slice', `${start} to ${end} is no range of axis ${at}`, [x.shape]);
  }
  if (from === 0 && to === size && step === 1) return x;
  const count = Math.ceil((to - from) / step);
  return emit(
    'Slice',
    [x, ...[from, to, at, step].map((v) => indices(x.graph, [v]))],
    { dtype: x.dtype, shape: withDim(x.shape, at, count) },
    {},
    [(dy) => spread(dy, at, from, step, size), null, null, null, null],
  );
}

function dynamicSlice(x: Tensor, at: number, start: number, end: number, step: number): Tensor {
  const inputs = [x, ...[start, end, at, step].map((v) => indices(x.graph, [v]))];
  return emit('Slice', inputs, { dtype: x.dtype, shape: withDim(x.shape, at, -1) });
}

/** The gradient of a slice: with a step, zeros go between the elements. */
function spread(dy: Tensor, axis: number, start: number, step: number, size: number): Gradient {
  if (step === 1) return { axis, start, value: dy };
  const count = dim(dy.shape, axis);
  const apart = reshape(dy, [...dy.shape.slice(0, axis + 1), 1, ...dy.shape.slice(axis + 1)]);
  const pads = apart.shape.map((_, i): [number, number] => [0, i === axis + 1 ? step - 1 : 0]);
  const wide = reshape(pad(apart, pads), withDim(dy.shape, axis, count * step));
  const room = Math.min(count * step, size - start);
  return { axis, start, value: slice(wide, axis, 0, room) };
}

/** x with `value` around it: pads[i] = [before, after] on axis i. */
export function pad(x: Tensor, pads: readonly (readonly [number, number])[], value = 0): Tensor {
  if (pads.length !== x.shape.length || pads.some(([a, b]) => a < 0 || b < 0)) {
    throw new ShapeError('pad', 'one pair ≥ 0 an axis', [x.shape]);
  }
  if (pads.every(([a, b]) => a === 0 && b === 0)) return x;
  const shape = x.shape.map((d, i) => {
    const [before, after] = pads[i] ?? [0, 0];
    return d === -1 ? -1 : d + before + after;
  });
  const amounts = indices(x.graph, [...pads.map((p) => p[0]), ...pads.map((p) => p[1])]);
  const fill = x.graph.constant(value, [], x.dtype);
  return emit('Pad', [x, amounts, fill], { dtype: x.dtype, shape }, {}, [
    (dy) =>
      x.shape.reduce((part, d, i) => {
        const before = pads[i]?.[0] ?? 0;
        return slice(part, i, before, before + d);
      }, dy),
    null,
    null,
  ]);
}

/** Each element `factor` times in a row along every axis of `axes`. */
export function upsampleNearest(x: Tensor, axes: readonly number[], factor: number): Tensor {
  return axes.reduce((y, axis) => {
    const at = axisOf('upsampleNearest', axis, y.shape.length);
    const before = y.shape.slice(0, at + 1);
    const after = y.shape.slice(at + 1);
    const repeated = expandAxis(reshape(y, [...before, 1, ...after]), at + 1, factor);
    return reshape(repeated, withDim(y.shape, at, dim(y.shape, at) * factor));
  }, x);
}

function expandAxis(x: Tensor, axis: number, size: number): Tensor {
  return concat(new Array<Tensor>(size).fill(x), axis);
}
