import { describe, expect, it } from 'vitest';
import { Graph, add, concat, filled, loop, mul, reshape, slice, softmax, tanh } from './index.ts';
import { peakBytes } from './peak-bytes.ts';

/** Sums by hand: of float32 values, four bytes each. */
describe('the most that values of a graph take at once', () => {
  const inputs = () => {
    const graph = new Graph();
    return { graph, x: graph.input('x', 'float32', [10]) };
  };

  it('is that of two in a chain: each is given up behind its reader', () => {
    const { graph, x } = inputs();
    graph.output('y', slice(slice(slice(tanh(x), 0, 0, 8), 0, 0, 6), 0, 0, 4));
    expect(peakBytes(graph)).toBe(40 + 32);
  });

  it('has what is read once more later, and not what no output needs', () => {
    const { graph, x } = inputs();
    const first = tanh(x);
    concat([first, first, first], 0);
    graph.output('y', add(tanh(tanh(first)), first));
    expect(peakBytes(graph)).toBe(3 * 40);
  });

  it('keeps a buffer for the next value of its shape, beside those of others', () => {
    const { graph, x } = inputs();
    // The buffer of ten is kept from the first to the last, over the value of four.
    graph.output(
      'y',
      concat([tanh(slice(tanh(x), 0, 0, 4)), x.graph.constant(new Float32Array(6), [6])], 0),
    );
    expect(peakBytes(graph)).toBe(40 + 16 + 16);
  });

  it('takes none for another name, and none for softmax in its input’s place', () => {
    const { graph, x } = inputs();
    graph.output('y', softmax(reshape(tanh(x), [2, 5])));
    expect(peakBytes(graph)).toBe(40);
  });

  it('has a loop’s state before, within and behind, at the length that it grows to', () => {
    const { graph, x } = inputs();
    const start = filled(graph, 0, [1, 0]);
    const { carried } = loop(graph, {
      trips: 3,
      carried: [start],
      grows: { 0: 1 },
      body: (_, __, [past]) => {
        if (past === undefined) throw new RangeError('the loop carries a row');
        return { carried: [concat([past, reshape(slice(x, 0, 0, 1), [1, 1])], 1)] };
      },
    });
    graph.output('y', carried[0] ?? mul(x, 1));
    // Three rows of seven, and what is appended.
    expect(peakBytes(graph, 7)).toBe(3 * 28 + 4);
  });
});
