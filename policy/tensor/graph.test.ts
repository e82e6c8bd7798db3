import { describe, expect, it } from 'vitest';
import {
  Graph,
  ShapeError,
  add,
  attention,
  cast,
  clamp,
  concat,
  conv1d,
  conv2d,
  crossEntropy,
  expand,
  fromHalf,
  gather,
  gatherElements,
  gemm,
  groupNorm,
  layerNorm,
  linear,
  matmul,
  pad,
  reduceSum,
  reshape,
  slice,
  split,
  toBfloat,
  toHalf,
  transpose,
} from './index.ts';
import type { Tensor } from './index.ts';

const real = (g: Graph, ...shape: number[]): Tensor =>
  g.input(`x${g.inputs.length}`, 'float32', shape);

describe('shapes', () => {
  it('follow numpy where shapes broadcast', () => {
    const g = new Graph();
    expect(add(real(g, 3, 1, 7), real(g, 6, 1)).shape).toEqual([3, 6, 7]);
    expect(add(2, real(g, 4)).shape).toEqual([4]);
    expect(matmul(real(g, 5, 1, 2, 3), real(g, 4, 3, 6)).shape).toEqual([5, 4, 2, 6]);
  });

  it('follow PyTorch for convolutions, slices and splits', () => {
    const g = new Graph();
    const w = real(g, 5, 3, 4);
    expect(conv1d(real(g, 2, 16, 3), w, { stride: 2, padding: 2 }).shape).toEqual([2, 8, 4]);
    const k = real(g, 3, 3, 3, 8);
    expect(conv2d(real(g, 2, 9, 12, 3), k, { stride: 2, padding: 1 }).shape).toEqual([2, 5, 6, 8]);
    expect(slice(real(g, 9), 0, -4, 99, 2).shape).toEqual([2]);
    expect(split(real(g, 6, 2), [1, 5], 0).map((t) => t.shape)).toEqual([
      [1, 2],
      [5, 2],
    ]);
    expect(reshape(real(g, 4, 6), [2, -1, 3]).shape).toEqual([2, 4, 3]);
  });

  const wrong: Readonly<Record<string, (g: Graph) => unknown>> = {
    add: (g) => add(real(g, 2, 3), real(g, 4)),
    matmul: (g) => matmul(real(g, 2, 3), real(g, 4, 5)),
    linear: (g) => linear(real(g, 2, 3), real(g, 5, 4)),
    gemm: (g) => gemm(real(g, 2, 3), real(g, 2, 3)),
    reshape: (g) => reshape(real(g, 2, 3), [4, 2]),
    expand: (g) => expand(real(g, 2, 3), [2, 4]),
    concat: (g) => concat([real(g, 2, 3), real(g, 3, 4)], 1),
    split: (g) => split(real(g, 6), [2, 3], 0),
    slice: (g) => slice(real(g, 6), 0, 4, 2),
    pad: (g) => pad(real(g, 6), [[-1, 0]]),
    transpose: (g) => transpose(real(g, 2, 3), [0, 0]),
    reduceSum: (g) => reduceSum(real(g, 2), [1]),
    layerNorm: (g) => layerNorm(real(g, 2, 3), { weight: real(g, 4) }, { eps: 1e-5 }),
    groupNorm: (g) =>
      groupNorm(
        real(g, 2, 3, 5),
        { weight: real(g, 5), bias: real(g, 5) },
        { groups: 2, eps: 1e-5 },
      ),
    conv1d: (g) => conv1d(real(g, 2, 8, 3), real(g, 3, 4, 2)),
    conv2d: (g) => conv2d(real(g, 1, 8, 8, 3), real(g, 3, 2, 3, 2)),
    attention: (g) => attention(real(g, 1, 3, 2, 4), real(g, 1, 2, 2, 4), real(g, 1, 2, 2, 4)),
    gather: (g) => gather(real(g, 3), real(g, 2)),
    gatherElements: (g) => gatherElements(real(g, 3, 2), g.input('i', 'int64', [4, 2]), 1),
    crossEntropy: (g) => crossEntropy(real(g, 3, 5), g.input('i', 'int64', [2])),
    'operands of two types': (g) => add(real(g, 2), cast(real(g, 2), 'int64')),
    'operands of two graphs': (g) => add(real(g, 2), real(new Graph(), 2)),
  };
  it.each(Object.keys(wrong))(
    'are refused by %s with the operation and the shapes named',
    (name) => {
      expect(() => wrong[name]?.(new Graph())).toThrow(ShapeError);
      const plain = name.startsWith('operands') ? 'add' : name;
      expect(() => wrong[name]?.(new Graph())).toThrow(
        new RegExp(`^(${plain}|LayerNormalization|arrange)`, 'i'),
      );
    },
  );
});

describe('graph', () => {
  it('keeps one tensor for equal small constants, but tells 0 from -0 and types apart', () => {
    const g = new Graph();
    expect(g.constant(2)).toBe(g.constant(2));
    expect(g.constant([1, 2])).toBe(g.constant(Float32Array.of(1, 2)));
    expect(g.constant(2)).not.toBe(g.constant(2, [], 'int64'));
    expect(g.constant(0)).not.toBe(g.constant(-0));
    expect(g.constant([1, 2], [1, 2])).not.toBe(g.constant([1, 2], [2, 1]));
  });

  it('refuses names twice, wrong sizes and wrong arrays', () => {
    const g = new Graph();
    const x = g.input('x', 'float32', [2]);
    g.output('y', clamp(x, 0, 1));
    expect(() => g.input('x', 'float32', [2])).toThrow(ShapeError);
    expect(() => g.output('y', x)).toThrow(ShapeError);
    expect(() => g.output('x', x)).toThrow(ShapeError);
    expect(() => g.input('y', 'float32', [2])).toThrow(ShapeError);
    expect(() => g.input('z', 'float32', [-1])).toThrow(ShapeError);
    expect(() => g.constant([1, 2, 3], [2])).toThrow(ShapeError);
    expect(() => g.constant(Uint8Array.of(1), [1], 'float32')).toThrow(ShapeError);
  });
});

describe('half precision', () => {
  it('reads back every finite pattern', () => {
    for (let bits = 0; bits < 0x10000; bits += 1) {
      if ((bits & 0x7c00) !== 0x7c00) expect(toHalf(fromHalf(bits))).toBe(bits);
    }
  });
  it('rounds to nearest even and overflows to infinity', () => {
    expect(fromHalf(toHalf(1 + 2 ** -11))).toBe(1);
    expect(fromHalf(toHalf(1 + 3 * 2 ** -11))).toBe(1 + 2 ** -9);
    expect(fromHalf(toHalf(2 ** -25))).toBe(0);
    expect(fromHalf(toHalf(2 ** -24 * 1.5))).toBe(2 ** -23);
    expect(fromHalf(toHalf(65519))).toBe(65504);
    expect(fromHalf(toHalf(-65520))).toBe(-Infinity);
    expect(toBfloat(1 + 2 ** -8)).toBe(0x3f80);
    expect(toBfloat(1 + 3 * 2 ** -8)).toBe(0x3f82);
  });
});
