import { reshape } from './broadcast.ts';
import { emit } from './emit.ts';
import type { Tensor } from './graph.ts';
import { sizeOf } from './shapes.ts';

/**
 * In which order the runtime takes nodes that do not read each other. It goes back from the outputs, depth first,
 * and so leaves the gradients of weights for the end, when what they read has long left the processor's cache.
 */

/** Elements from which on a tensor does not stay in the cache until something else has run. */
const LARGE = 1 << 18;

export function isLarge(x: Tensor): boolean {
  return sizeOf(x.shape) >= LARGE;
}

/**
 * x, once the others are computed; they are not read. Each has x's shape or broadcasts to it.
 */
export function after(x: Tensor, ...others: readonly (Tensor | undefined)[]): Tensor {
  const always = x.graph.constant(1, [], 'bool');
  return others.reduce<Tensor>(
    (value, other) =>
      other === undefined
        ? value
        : emit('Where', [always, value, other], { dtype: x.dtype, shape: x.shape }, {}, [
            null,
            (dy) => dy,
            null,
          ]),
    x,
  );
}

/** A row of as many as the matrix has rows, as a column beside it. */
export function column(row: Tensor | undefined): Tensor | undefined {
  return row === undefined ? undefined : reshape(row, [-1, 1]);
}
