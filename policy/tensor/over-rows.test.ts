import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seeded } from '../data/index.ts';
import { Graph, type Tensor } from './index.ts';
import { overRows, sumRows } from './linalg.ts';
import { build, type NdArray } from './testing/array.ts';
import { evaluate } from './testing/reference.ts';

/** Long rows are taken in shares where they can be: what comes of it is the sum over all of them. */

const counts = fc.oneof(
  fc.constantFrom(1, 1023, 1024, 1025, 1026, 1028, 4096),
  fc.integer({ min: 1, max: 3000 }),
);
const sizes = fc.record({
  count: counts,
  m: fc.integer({ min: 1, max: 5 }),
  n: fc.integer({ min: 1, max: 5 }),
  seed: fc.nat(1000),
});

function computed(
  [a, b]: readonly [NdArray, NdArray],
  make: (a: Tensor, b: Tensor) => Tensor,
): NdArray {
  const graph = new Graph();
  const of = make(graph.input('a', 'float32', a.shape), graph.input('b', 'float32', b.shape));
  const [out] = evaluate(graph, { a, b }, [of]);
  if (out === undefined) throw new Error('nothing was computed');
  return out;
}

function expectClose({ shape, data }: NdArray, wanted: NdArray): void {
  expect(shape).toEqual(wanted.shape);
  data.forEach((value, i) => {
    expect(Math.abs(value - (wanted.data[i] ?? NaN))).toBeLessThan(1e-9);
  });
}

/** Σ over r of a[r, i]·b[r, j], one after the other. */
function summed(a: NdArray, b: NdArray): NdArray {
  const [count = 0, m = 0] = a.shape;
  const n = b.shape[1] ?? 0;
  return build([m, n], ([i = 0, j = 0]) => {
    let sum = 0;
    for (let r = 0; r < count; r++) sum += (a.data[r * m + i] ?? NaN) * (b.data[r * n + j] ?? NaN);
    return sum;
  });
}

describe('sums over rows', () => {
  it('are those of all rows, however many there are', () => {
    fc.assert(
      fc.property(sizes, ({ count, m, n, seed }) => {
        const random = seeded(seed);
        const a = build([count, m], () => random.normal());
        const b = build([count, n], () => random.normal());
        expectClose(computed([a, b], overRows), summed(a, b));
        const { data } = summed(
          build([count, 1], () => 1),
          b,
        );
        expectClose(computed([b, b], sumRows), { shape: [n], data });
      }),
      { numRuns: 60 },
    );
  });
});
