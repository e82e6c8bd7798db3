import { ShapeError } from './errors.ts';

/** Pure arithmetic on shapes; -1 stands for a dimension known only while running. */

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((d, i) => d === b[i]);
}

/** Dimension `axis`, which must exist. */
export function dim(shape: readonly number[], axis: number): number {
  const d = shape.at(axis);
  if (d === undefined) throw new ShapeError('shape', `there is no axis ${axis}`, [shape]);
  return d;
}

/** An axis counted from the front; negative ones count from the back. */
export function axisOf(op: string, axis: number, rank: number): number {
  const a = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || a < 0 || a >= rank) {
    throw new ShapeError(op, `axis ${axis} does not exist in rank ${rank}`);
  }
  return a;
}

export function axesOf(op: string, axes: readonly number[], rank: number): number[] {
  const all = axes.map((a) => axisOf(op, a, rank)).sort((a, b) => a - b);
  if (new Set(all).size !== all.length) throw new ShapeError(op, `axes ${axes.join()} repeat`);
  return all;
}

/** The shape with dimension `axis` replaced. */
export function withDim(shape: readonly number[], axis: number, size: number): number[] {
  return shape.map((d, i) => (i === axis ? size : d));
}

/** numpy's broadcasting of several shapes. */
export function broadcast(op: string, ...shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  return Array.from({ length: rank }, (_, i) => {
    let size = 1;
    for (const shape of shapes) {
      const at = i - (rank - shape.length);
      const d = at < 0 ? 1 : dim(shape, at);
      if (d === 1 || d === size) continue;
      if (size === 1) size = d;
      else if (d !== -1 && size !== -1) {
        throw new ShapeError(op, 'the shapes do not broadcast', shapes);
      } else size = Math.max(size, d);
    }
    return size;
  });
}

/** The shape left after reducing `axes` (counted from the front). */
export function reducedShape(
  shape: readonly number[],
  axes: readonly number[],
  keepdims: boolean,
): number[] {
  return keepdims
    ? shape.map((d, i) => (axes.includes(i) ? 1 : d))
    : shape.filter((_, i) => !axes.includes(i));
}

/** Where each place of an order has gone: the order that undoes it. */
export function inverseOrder(order: readonly number[]): number[] {
  const back = new Array<number>(order.length).fill(0);
  order.forEach((from, to) => {
    back[from] = to;
  });
  return back;
}
