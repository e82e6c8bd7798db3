import {
  conv2d,
  Graph,
  gradients,
  linear,
  loop,
  matmul,
  mul,
  reduceSum,
} from '@armature/policy/tensor';
import { describe, expect, it } from 'vitest';
import { flopsOf } from './flops.ts';

describe('flopsOf', () => {
  it('counts two operations a multiply-add of a batched product', () => {
    const graph = new Graph();
    const a = graph.input('a', 'float32', [3, 4, 5]);
    const b = graph.input('b', 'float32', [3, 5, 6]);
    graph.output('c', matmul(a, b));
    expect(flopsOf(graph)).toBe(2 * 3 * 4 * 5 * 6);
  });

  it('counts three products for a linear layer with its gradients', () => {
    const graph = new Graph();
    const x = graph.input('x', 'float32', [7, 5]);
    const w = graph.input('w', 'float32', [6, 5]);
    const y = linear(x, w);
    const [dx, dw] = gradients(reduceSum(mul(y, y)), [x, w]);
    for (const [name, tensor] of Object.entries({ dx, dw })) {
      if (tensor !== undefined) graph.output(name, tensor);
    }
    expect(flopsOf(graph)).toBe(3 * 2 * 7 * 5 * 6);
  });

  it('counts a convolution by its output and kernel', () => {
    const graph = new Graph();
    const x = graph.input('x', 'float32', [1, 3, 8, 8]);
    const w = graph.input('w', 'float32', [4, 3, 2, 2]);
    const y = conv2d(x, w, { stride: 2, layout: 'NCHW' });
    graph.output('y', y);
    expect(flopsOf(graph)).toBe(2 * (4 * 4 * 4) * (3 * 2 * 2));
  });

  it('leaves out what no output needs, and refuses a loop', () => {
    const graph = new Graph();
    const x = graph.input('x', 'float32', [4, 4]);
    matmul(x, x);
    graph.output('y', mul(x, 2));
    expect(flopsOf(graph)).toBe(0);
    const result = loop(graph, {
      trips: 2,
      carried: [x],
      body: (_body, _i, carried) => ({ carried }),
    });
    const [last] = result.carried;
    if (last !== undefined) graph.output('z', last);
    expect(() => flopsOf(graph)).toThrow(RangeError);
  });
});
