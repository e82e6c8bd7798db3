import { describe, expect, it } from 'vitest';
import {
  Graph,
  GradientError,
  argmax,
  cast,
  concat,
  gradients,
  int8Linear,
  linear,
  loop,
  matmul,
  mul,
  reduceSum,
  reshape,
  slice,
  split,
  stopGradient,
  add,
  toOnnx,
  attention,
} from './index.ts';
import type { Tensor } from './index.ts';
import { evaluate } from './testing/reference.ts';

/** ONNX operators that the given tensors need. */
function operators(graph: Graph, wanted: readonly Tensor[]): string[] {
  const ids = new Set(wanted.map((t) => t.id));
  const used = [...graph.nodes].reverse().filter((node) => {
    if (!node.outputs.some((t) => ids.has(t.id))) return false;
    for (const t of node.inputs) if (t !== undefined) ids.add(t.id);
    return true;
  });
  return used.map((n) => n.op).reverse();
}

const ramp = (shape: number[]) => {
  const size = shape.reduce((a, b) => a * b, 1);
  return { shape, data: Float64Array.from({ length: size }, (_, i) => i + 1) };
};

describe('gradients', () => {
  it('joins slices that tile an axis by one Concat, without Pad or Add', () => {
    const g = new Graph();
    const x = g.input('x', 'float32', [2, 12]);
    const [q, k, v] = [slice(x, 1, 0, 4), slice(x, 1, 4, 8), slice(x, 1, 8, 12)];
    const loss = reduceSum(mul(mul(q, k), v));
    const [dx] = gradients(loss, [x]);
    const ops = operators(g, dx === undefined ? [] : [dx]);
    expect(ops.filter((op) => op === 'Concat')).toHaveLength(1);
    expect(ops).not.toContain('Pad');
    expect(ops).not.toContain('Add');
  });

  it('takes gradients of slices of a flat vector without touching the vector', () => {
    const g = new Graph();
    const flat = g.input('p', 'float32', [6 + 3]);
    const x = g.input('x', 'float32', [4, 2]);
    const [w, b] = [reshape(slice(flat, 0, 0, 6), [3, 2]), slice(flat, 0, 6, 9)];
    const wanted = gradients(reduceSum(linear(x, w, b)), [w, b]);
    expect(wanted.map((t) => t.shape)).toEqual([[3, 2], [3]]);
    const all = concat(
      wanted.map((t) => reshape(t, [-1])),
      0,
    );
    expect(operators(g, [all]).filter((op) => op === 'Concat')).toHaveLength(1);
    const [value] = evaluate(g, { p: ramp([9]), x: ramp([4, 2]) }, [all]);
    expect([...(value?.data ?? [])]).toEqual([16, 20, 16, 20, 16, 20, 4, 4, 4]);
  });

  it('needs no Transpose for linear layers', () => {
    const g = new Graph();
    const [x, w, b] = [
      g.input('x', 'float32', [5, 2, 3]),
      g.input('w', 'float32', [4, 3]),
      g.input('b', 'float32', [4]),
    ];
    const y = linear(x, w, b);
    const grads = gradients(reduceSum(mul(y, y)), [x, w, b]);
    const ops = operators(g, grads);
    expect(ops).not.toContain('Transpose');
    // Forward, to the input, to the weight, to the bias (a row of ones).
    expect(ops.filter((op) => op === 'Gemm')).toHaveLength(4);
  });

  it('never repeats keys and values for grouped queries', () => {
    const g = new Graph();
    const q = g.input('q', 'float32', [2, 4, 3, 2]);
    const [k, v] = [g.input('k', 'float32', [2, 2, 3, 2]), g.input('v', 'float32', [2, 2, 3, 2])];
    const grads = gradients(reduceSum(attention(q, k, v, { causal: true })), [q, k, v]);
    const ops = operators(g, grads);
    expect(ops).not.toContain('Tile');
    expect(ops.filter((op) => op === 'Concat')).toHaveLength(0);
  });

  it('is zero where nothing depends, and stops where told', () => {
    const g = new Graph();
    const [x, z] = [g.input('x', 'float32', [3]), g.input('z', 'float32', [2])];
    const loss = reduceSum(mul(stopGradient(x), x));
    const [dx, dz] = gradients(loss, [x, z]);
    const [first, second] = evaluate(
      g,
      { x: ramp([3]), z: ramp([2]) },
      [dx, dz].filter((t) => t !== undefined),
    );
    expect([...(first?.data ?? [])]).toEqual([1, 2, 3]);
    expect([...(second?.data ?? [])]).toEqual([0, 0]);
  });

  it('is taken with respect to inner tensors and inputs of the same graph at once', () => {
    const g = new Graph();
    const x = g.input('x', 'float32', [3]);
    const square = mul(x, x);
    const [dx, ds] = gradients(reduceSum(mul(square, 3)), [x, square]);
    const values = evaluate(
      g,
      { x: ramp([3]) },
      [dx, ds].filter((t) => t !== undefined),
    );
    expect(values.map((v) => [...v.data])).toEqual([
      [6, 12, 18],
      [3, 3, 3],
    ]);
  });

  it('adds up uses, parts of a split and several targets', () => {
    const g = new Graph();
    const x = g.input('x', 'float32', [4]);
    const [a, , c] = split(x, [1, 2, 1], 0);
    if (a === undefined || c === undefined) throw new Error('three parts');
    const of = [mul(a, 2), add(c, x)];
    const upstream = [g.constant([1]), g.constant([1, 1, 1, 1])];
    const [dx] = gradients({ of, upstream }, [x]);
    const [value] = evaluate(g, { x: ramp([4]) }, dx === undefined ? [] : [dx]);
    expect([...(value?.data ?? [])]).toEqual([3, 1, 1, 5]);
  });

  it('passes nothing through choices of index or whole numbers', () => {
    const g = new Graph();
    const x = g.input('x', 'float32', [3]);
    const picked = cast(argmax(x, 0), 'float32');
    const [dx] = gradients(reduceSum(mul(picked, x)), [x]);
    const [value] = evaluate(g, { x: ramp([3]) }, dx === undefined ? [] : [dx]);
    expect([...(value?.data ?? [])]).toEqual([2, 2, 2]);
  });

  it('refuses a way through quantised weights, unless it is stopped before', () => {
    const g = new Graph();
    const x = g.input('x', 'float32', [2, 3]);
    const w = g.constant(new Int8Array(6), [3, 2]);
    const through = (t: Tensor) => reduceSum(int8Linear(t, w, g.constant([1, 1])));
    expect(() => gradients(through(x), [x])).toThrow(GradientError);
    expect(gradients(through(stopGradient(x)), [x])).toHaveLength(1);
  });

  it('refuses losses that are no scalars and ways through a loop', () => {
    const g = new Graph();
    const x = g.input('x', 'float32', [2, 2]);
    expect(() => gradients(x, [x])).toThrow(GradientError);
    const { carried } = loop(g, {
      trips: 3,
      carried: [g.constant(1, [2, 2])],
      body: (_, __, [h]) => ({ carried: [matmul(h ?? x, x)] }),
    });
    const [y] = carried;
    if (y === undefined) throw new Error('one carried tensor');
    expect(() => gradients(reduceSum(y), [x])).toThrow(/loop/);
    g.output('y', y);
    expect(toOnnx(g).length).toBeGreaterThan(0);
  });
});
