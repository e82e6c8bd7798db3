import { expand, filled, reshape } from './broadcast.ts';
import { emit } from './emit.ts';
import { ShapeError } from './errors.ts';
import type { Tensor } from './graph.ts';
import { gemm } from './linalg.ts';
import { cast, equal } from './logic.ts';
import { axisOf, dim, inverseOrder, sizeOf, withDim } from './shapes.ts';
import { transpose } from './shape.ts';

/** Reading and adding by index. Indices are int64. */

/** Rows up to which the gradient of a gather is a product with the one-hot matrix of the indices. */
const ONE_HOT_ROWS = 256;

/**
 * x's entries `index` along `axis` (the axis is replaced by index's axes): embeddings, banks.
 * Repeated indices add up in the gradient.
 */
export function gather(x: Tensor, index: Tensor, axis = 0): Tensor {
  const at = axisOf('gather', axis, x.shape.length);
  needIndex('gather', index);
  const shape = [...x.shape.slice(0, at), ...index.shape, ...x.shape.slice(at + 1)];
  return emit('Gather', [x, index], { dtype: x.dtype, shape }, { axis: { int: at } }, [
    (dy) => gatherGradient(dy, x, index, at),
    null,
  ]);
}

/** gather by a vector of indices. */
export function indexSelect(x: Tensor, index: Tensor, axis: number): Tensor {
  if (index.shape.length !== 1)
    throw new ShapeError('indexSelect', 'needs a vector', [index.shape]);
  return gather(x, index, axis);
}

function gatherGradient(dy: Tensor, x: Tensor, index: Tensor, axis: number): Tensor {
  const count = sizeOf(index.shape);
  const entries = dim(x.shape, axis);
  const lead = x.shape.slice(0, axis);
  const rest = x.shape.slice(axis + 1);
  const width = sizeOf(lead) * sizeOf(rest);
  const order = [axis, ...lead.map((_, i) => i), ...rest.map((_, i) => i + axis + 1)];
  const back = inverseOrder(order);
  const flat = reshape(dy, [...lead, count, ...rest]);
  const upstream = reshape(transpose(flat, order), [count, width]);
  const sum = addRows(upstream, reshape(index, [count]), entries);
  return transpose(
    reshape(
      sum,
      order.map((o) => dim(x.shape, o)),
    ),
    back,
  );
}

/** Rows of `values` [N, W] added into `entries` rows by index [N]. */
function addRows(values: Tensor, index: Tensor, entries: number): Tensor {
  const [count, width] = [dim(values.shape, 0), dim(values.shape, 1)];
  if (entries <= ONE_HOT_ROWS) {
    return gemm(oneHot(index, entries, values.dtype), values, { transA: true });
  }
  const zero = filled(values.graph, 0, [entries, width], values.dtype);
  return scatterAdd(zero, expand(reshape(index, [count, 1]), [count, width]), values, 0);
}

/** 1 where the index is, else 0: index shape [...] → [..., classes]. */
export function oneHot(index: Tensor, classes: number, dtype: Tensor['dtype'] = 'float32'): Tensor {
  needIndex('oneHot', index);
  const range = Array.from({ length: classes }, (_, i) => i);
  const all = index.graph.constant(range, [classes], 'int64');
  return cast(equal(reshape(index, [...index.shape, 1]), all), dtype);
}

/** y[i][j] = x[i][index[i][j]] along `axis`, as torch.gather: index has x's rank. */
export function gatherElements(x: Tensor, index: Tensor, axis: number): Tensor {
  const at = axisOf('gatherElements', axis, x.shape.length);
  needElementIndex('gatherElements', x, index, at);
  return emit(
    'GatherElements',
    [x, index],
    { dtype: x.dtype, shape: index.shape },
    { axis: { int: at } },
    [(dy) => scatterAdd(filled(x.graph, 0, x.shape, x.dtype), index, dy, at), null],
  );
}

/** x with src added at the places index names along `axis`, as torch.scatter_add. */
export function scatterAdd(x: Tensor, index: Tensor, src: Tensor, axis: number): Tensor {
  const at = axisOf('scatterAdd', axis, x.shape.length);
  needElementIndex('scatterAdd', x, index, at);
  if (src.shape.join() !== index.shape.join()) {
    throw new ShapeError('scatterAdd', 'index and source differ', [index.shape, src.shape]);
  }
  return emit(
    'ScatterElements',
    [x, index, src],
    { dtype: x.dtype, shape: x.shape },
    { axis: { int: at }, reduction: { text: 'add' } },
    [(dy) => dy, null, (dy) => gatherElements(dy, index, at)],
  );
}

function needIndex(op: string, index: Tensor): void {
  if (index.dtype !== 'int64') throw new ShapeError(op, `indices are int64, not ${index.dtype}`);
}

function needElementIndex(op: string, x: Tensor, index: Tensor, axis: number): void {
  needIndex(op, index);
  const room = withDim(x.shape, axis, Infinity);
  const fits =
    index.shape.length === x.shape.length && index.shape.every((d, i) => d <= (room[i] ?? 0));
  if (!fits) throw new ShapeError(op, 'the index does not lie inside x', [x.shape, index.shape]);
}
