import {
  blockLinear,
  concat,
  conv2d,
  Graph,
  gradients,
  int8Linear,
  linear,
  loop,
  matmul,
  mul,
  reduceSum,
  transpose,
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

  it('leaves out what no output needs', () => {
    const graph = new Graph();
    const x = graph.input('x', 'float32', [4, 4]);
    matmul(x, x);
    graph.output('y', mul(x, 2));
    expect(flopsOf(graph)).toBe(0);
  });

  it('counts a loop’s body once a trip, and what only the body reads once', () => {
    const graph = new Graph();
    const x = graph.input('x', 'float32', [4, 4]);
    const outside = matmul(x, x);
    const { carried } = loop(graph, {
      trips: 3,
      carried: [x],
      body: (_body, _i, [a]) => ({ carried: [matmul(a ?? x, outside)] }),
    });
    graph.output('y', carried[0] ?? x);
    expect(flopsOf(graph)).toBe(4 * 2 * 4 ** 3);
  });

  it('takes the trips of a loop that its run decides, and a length that grows in it, from the caller', () => {
    const graph = new Graph();
    const x = graph.input('x', 'float32', [1, 5]);
    const keys = graph.input('keys', 'float32', [5, 2]);
    const { carried } = loop(graph, {
      trips: graph.input('steps', 'int64', []),
      carried: [x, keys],
      grows: { 1: 1 },
      body: (_body, _i, [a = x, k = keys]) => {
        const longer = concat([k, transpose(a, [1, 0])], 1);
        const scores = matmul(a, longer);
        return { carried: [matmul(scores, transpose(longer, [1, 0])), longer] };
      },
    });
    graph.output('y', carried[0] ?? x);
    expect(() => flopsOf(graph)).toThrow('trips');
    expect(() => flopsOf(graph, { trips: 4 })).toThrow('grows');
    // Over four trips there are 3, 4, 5 and 6 keys: 4.5 on average.
    expect(flopsOf(graph, { trips: 4, length: 4.5 })).toBe(2 * 2 * 5 * (3 + 4 + 5 + 6));
  });

  it('counts products with quantised weights as those with others', () => {
    const graph = new Graph();
    const x = graph.input('x', 'float32', [3, 64]);
    const w = graph.input('w', 'int8', [64, 8]);
    const y = int8Linear(x, w, graph.input('s', 'float32', [8]));
    graph.output('y', y);
    const packed = graph.input('p', 'uint8', [8, 2, 32]);
    const scales = graph.input('t', 'float32', [16]);
    graph.output('z', blockLinear(x, packed, scales, { bits: 8, block: 32, columns: 8 }));
    expect(flopsOf(graph)).toBe(2 * 2 * 3 * 64 * 8);
  });
});
