import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  Graph,
  abs,
  add,
  attention,
  cast,
  clamp,
  concat,
  conv1d,
  conv2d,
  convTranspose1d,
  cos,
  crossEntropy,
  div,
  erf,
  exp,
  expand,
  gather,
  gatherElements,
  gelu,
  gemm,
  gradients,
  groupNorm,
  indexSelect,
  layerNorm,
  linear,
  log,
  logSoftmax,
  maskedMse,
  matmul,
  maximum,
  minimum,
  mish,
  mrope,
  mse,
  mul,
  neg,
  pad,
  pow,
  quickGelu,
  reciprocal,
  reduceMax,
  reduceMean,
  reduceSum,
  relu,
  reshape,
  rmsNorm,
  rope,
  rotate,
  rotationOf,
  rowLinear,
  rsqrt,
  scatterAdd,
  sigmoid,
  silu,
  sin,
  sizeOf,
  slice,
  softmax,
  softplus,
  split,
  sqrt,
  sub,
  sumRows,
  swap,
  tanh,
  timestepEmbedding,
  transpose,
  upsampleNearest,
  where,
} from './index.ts';
import * as tensor from './index.ts';
import type { Tensor } from './index.ts';
import { build } from './testing/array.ts';
import type { NdArray } from './testing/array.ts';
import { evaluate } from './testing/reference.ts';

/**
 * For every operation, on shapes drawn at random: the gradient that the graph computes, run in float64,
 * against central differences of the forward graph, run in float64.
 */

interface Draw {
  /** A whole number in [lo, hi]. */
  whole(lo: number, hi: number): number;
  shape(rank: number, hi?: number): number[];
  pick<T>(...options: readonly T[]): T;
}

interface Setup {
  readonly draw: Draw;
  /** A float input to differentiate. `positive`: in (0.3, 2.3). */
  real(shape: readonly number[], kind?: 'positive' | 'apart'): Tensor;
  /** An int64 input in [0, below). */
  index(shape: readonly number[], below: number): Tensor;
}

type Case = (s: Setup) => Tensor;

const anyShape = (s: Setup) => s.draw.shape(s.draw.whole(0, 3));
const unary =
  (f: (x: Tensor) => Tensor, kind?: 'positive' | 'apart'): Case =>
  (s) =>
    f(s.real(anyShape(s), kind));

function pairOf(s: Setup): [number[], number[]] {
  const whole = s.draw.shape(s.draw.whole(0, 3));
  const part = (shape: readonly number[]) =>
    shape.slice(s.draw.whole(0, shape.length)).map((d) => (s.draw.whole(0, 2) === 0 ? 1 : d));
  return s.draw.pick([whole, part(whole)], [part(whole), whole], [whole, whole]);
}
const pair =
  (f: (a: Tensor, b: Tensor) => Tensor, kind?: 'positive'): Case =>
  (s) => {
    const [a, b] = pairOf(s);
    return f(s.real(a), s.real(b, kind));
  };

const reduced =
  (f: (x: Tensor, axes: number[], keep: boolean) => Tensor): Case =>
  (s) => {
    const x = s.real(s.draw.shape(s.draw.whole(1, 4)), 'apart');
    const axes = x.shape.map((_, i) => i).filter(() => s.draw.whole(0, 1) === 1);
    return f(x, axes.length === 0 ? [-1] : axes, s.draw.pick(true, false));
  };

const along =
  (f: (x: Tensor, axis: number) => Tensor): Case =>
  (s) => {
    const x = s.real(s.draw.shape(s.draw.whole(1, 3)));
    return f(x, s.draw.whole(0, x.shape.length - 1));
  };

const cases: Readonly<Record<string, Case>> = {
  add: pair(add),
  sub: pair(sub),
  mul: pair(mul),
  div: pair(div, 'positive'),
  'div by and into a number': (s) => add(div(s.real([3]), 2.5), div(1.5, s.real([3], 'positive'))),
  maximum: pair(maximum),
  minimum: pair(minimum),
  neg: unary(neg),
  exp: unary(exp),
  log: unary(log, 'positive'),
  sqrt: unary(sqrt, 'positive'),
  rsqrt: unary(rsqrt, 'positive'),
  reciprocal: unary(reciprocal, 'positive'),
  abs: unary(abs),
  'pow 3': unary((x) => pow(x, 3)),
  'pow -0.5': unary((x) => pow(x, -0.5), 'positive'),
  sin: unary(sin),
  cos: unary(cos),
  erf: unary(erf),
  tanh: unary(tanh),
  sigmoid: unary(sigmoid),
  softplus: unary(softplus),
  relu: unary(relu),
  silu: unary(silu),
  'gelu erf': unary((x) => gelu(x, 'erf')),
  'gelu tanh': unary((x) => gelu(x, 'tanh')),
  quickGelu: unary(quickGelu),
  mish: unary(mish),
  clamp: unary((x) => clamp(x, -0.7, 0.9)),
  where: (s) => {
    const [a, b] = pairOf(s);
    const shape = a.length > b.length ? a : b;
    return where(s.index(shape, 2), s.real(a), s.real(b));
  },
  'matmul, leading axes broadcast': (s) => {
    const [a, b] = pairOf(s);
    const [m, k, n] = [s.draw.whole(1, 4), s.draw.whole(1, 4), s.draw.whole(1, 4)];
    return matmul(s.real([...a, m, k]), s.real([...b, k, n]));
  },
  gemm: (s) => {
    const [m, k, n] = [s.draw.whole(1, 4), s.draw.whole(1, 4), s.draw.whole(1, 4)];
    const [transA, transB] = [s.draw.pick(true, false), s.draw.pick(true, false)];
    const [a, b] = [s.real(transA ? [k, m] : [m, k]), s.real(transB ? [n, k] : [k, n])];
    return gemm(a, b, { transA, transB }, s.draw.pick(true, false) ? s.real([n]) : undefined);
  },
  linear: (s) => {
    const weight = s.draw.pick('oi' as const, 'io' as const);
    const [i, o] = [s.draw.whole(1, 4), s.draw.whole(1, 4)];
    const w = s.real(weight === 'oi' ? [o, i] : [i, o]);
    return linear(s.real([...s.draw.shape(s.draw.whole(1, 2)), i]), w, s.real([o]), { weight });
  },
  rowLinear: (s) => {
    const [b, t, i, o] = [
      s.draw.whole(1, 3),
      s.draw.whole(1, 3),
      s.draw.whole(1, 3),
      s.draw.whole(1, 3),
    ];
    const x = s.real(s.draw.pick([b, i], [b, t, i]));
    return rowLinear(x, s.real([b, i, o]), s.real([b, o]));
  },
  reduceSum: reduced(reduceSum),
  reduceMean: reduced(reduceMean),
  reduceMax: reduced(reduceMax),
  softmax: along(softmax),
  logSoftmax: along(logSoftmax),
  transpose: (s) =>
    transpose(s.real(s.draw.shape(3)), s.draw.pick([0, 2, 1], [2, 0, 1], [1, 2, 0], [2, 1, 0])),
  reshape: (s) => {
    const [a, b, c] = [s.draw.whole(1, 4), s.draw.whole(1, 4), s.draw.whole(1, 4)];
    return reshape(s.real([a, b, c]), s.draw.pick([-1, c], [a, b * c], [c, b, a], [1, -1]));
  },
  expand: (s) => {
    const [a, b] = pairOf(s);
    return a.length > b.length
      ? expand(s.real(b), a)
      : expand(s.real(a), b.length > a.length ? b : a);
  },
  concat: (s) => {
    const shape = s.draw.shape(3);
    const axis = s.draw.whole(0, 2);
    const part = () => s.real(shape.map((d, i) => (i === axis ? s.draw.whole(1, 3) : d)));
    const [a, b] = [part(), part()];
    return concat([a, b, a], axis);
  },
  'split, parts used unequally': (s) => {
    const sizes = [s.draw.whole(1, 3), s.draw.whole(1, 3), s.draw.whole(1, 3)];
    const parts = split(s.real([2, sizes.reduce((a, b) => a + b)]), sizes, 1);
    const used = parts.filter((_, i) => i === 0 || s.draw.pick(true, false));
    return concat(
      used.map((p, i) => mul(p, i + 1.5)),
      1,
    );
  },
  slice: (s) => {
    const x = s.real(s.draw.shape(3, 7));
    const axis = s.draw.whole(0, 2);
    const start = s.draw.whole(0, (x.shape[axis] ?? 1) - 1);
    return slice(x, axis, start, s.draw.whole(start + 1, x.shape[axis] ?? 1), s.draw.whole(1, 3));
  },
  'overlapping slices of one tensor': (s) => {
    const n = s.draw.whole(3, 7);
    const x = s.real([2, n]);
    const parts = [slice(x, 1, 0, n - 1), slice(x, 1, 1, n), slice(x, 1, 0, n - 1, 1)];
    return concat(
      [...parts.map((p, i) => mul(p, i + 0.5)), slice(x, 0, 1, 2)].map((p) => reshape(p, [-1])),
      0,
    );
  },
  pad: (s) => {
    const x = s.real(s.draw.shape(2));
    return pad(
      x,
      [
        [s.draw.whole(0, 2), s.draw.whole(0, 2)],
        [s.draw.whole(0, 2), s.draw.whole(0, 2)],
      ],
      0.5,
    );
  },
  upsampleNearest: (s) =>
    upsampleNearest(s.real(s.draw.shape(3)), s.draw.pick([1], [0, 2]), s.draw.whole(1, 3)),
  gather: (s) => {
    const x = s.real(s.draw.shape(s.draw.whole(1, 3)));
    const axis = s.draw.whole(0, x.shape.length - 1);
    return gather(x, s.index(s.draw.shape(s.draw.whole(1, 2)), x.shape[axis] ?? 1), axis);
  },
  'gather from a large table': (s) => gather(s.real([300, 2]), s.index([5], 300), 0),
  indexSelect: (s) => indexSelect(s.real([3, 4]), s.index([s.draw.whole(1, 6)], 4), 1),
  gatherElements: (s) => gatherElements(s.real([3, 4]), s.index([3, s.draw.whole(1, 6)], 4), 1),
  scatterAdd: (s) => {
    const n = s.draw.whole(1, 6);
    return scatterAdd(s.real([3, 4]), s.index([3, n], 4), s.real([3, n]), 1);
  },
  layerNorm: (s) => {
    const shape = [...s.draw.shape(s.draw.whole(1, 2)), s.draw.whole(2, 5)];
    const x = s.real(shape);
    const [weight, bias] = [s.real(shape.slice(-1)), s.real(shape.slice(-1))];
    return layerNorm(x, s.draw.pick({ weight, bias }, { weight }, {}), { eps: 1e-3 });
  },
  rmsNorm: (s) => {
    const shape = [...s.draw.shape(s.draw.whole(1, 2)), s.draw.whole(2, 5)];
    return rmsNorm(s.real(shape), s.draw.pick(s.real(shape.slice(-1)), undefined), { eps: 1e-3 });
  },
  groupNorm: (s) => {
    const [b, l, g, each] = [
      s.draw.whole(1, 3),
      s.draw.whole(1, 4),
      s.draw.whole(1, 3),
      s.draw.whole(2, 3),
    ];
    const layout = s.draw.pick('BLC' as const, 'BCL' as const);
    const c = g * each;
    const x = s.real(layout === 'BLC' ? s.draw.pick([b, l, c], [b, l, 2, c]) : [b, c, l]);
    return groupNorm(
      x,
      { weight: s.real([c]), bias: s.real([c]) },
      { groups: g, eps: 1e-3, layout },
    );
  },
  conv1d: (s) => {
    const kernel = s.draw.whole(1, 5);
    const stride = s.draw.whole(1, Math.min(3, kernel));
    const padding = s.draw.whole(0, Math.floor(kernel / 2));
    const [b, i, o] = [s.draw.whole(1, 2), s.draw.whole(1, 3), s.draw.whole(1, 3)];
    const weight = s.draw.pick('kio' as const, 'oik' as const);
    const w = s.real(weight === 'kio' ? [kernel, i, o] : [o, i, kernel]);
    const bias = s.draw.pick(true, false) ? { bias: s.real([o]) } : {};
    return conv1d(s.real([b, kernel + s.draw.whole(0, 4), i]), w, {
      stride,
      padding,
      weight,
      ...bias,
    });
  },
  convTranspose1d: (s) => {
    const kernel = s.draw.whole(1, 5);
    const stride = s.draw.whole(1, Math.min(3, kernel));
    const padding = s.draw.whole(0, Math.floor((kernel - 1) / 2));
    const [b, i, o] = [s.draw.whole(1, 2), s.draw.whole(1, 3), s.draw.whole(1, 3)];
    const weight = s.draw.pick('koi' as const, 'iok' as const);
    const w = s.real(weight === 'koi' ? [kernel, o, i] : [i, o, kernel]);
    const bias = s.draw.pick(true, false) ? { bias: s.real([o]) } : {};
    return convTranspose1d(s.real([b, s.draw.whole(2, 5), i]), w, {
      stride,
      padding,
      weight,
      ...bias,
    });
  },
  conv2d: (s) => {
    const [kernel, stride, padding] = s.draw.pick(
      [3, 1, 1],
      [3, 2, 1],
      [3, 1, 0],
      [2, 2, 0],
      [2, 1, 1],
      [1, 1, 0],
      [3, 2, 0],
      [1, 1, 1],
    );
    const layout = s.draw.pick('NHWC' as const, 'NCHW' as const);
    const weight = s.draw.pick('hwio' as const, 'oihw' as const);
    const [b, i, o] = [s.draw.whole(1, 2), s.draw.whole(1, 2), s.draw.whole(1, 3)];
    const [h, w] = [s.draw.whole(3, 6), s.draw.whole(3, 6)];
    const x = s.real(layout === 'NHWC' ? [b, h, w, i] : [b, i, h, w]);
    const k = s.real(weight === 'hwio' ? [kernel, kernel, i, o] : [o, i, kernel, kernel]);
    const bias = s.draw.pick(true, false) ? { bias: s.real([o]) } : {};
    return conv2d(x, k, { stride, padding, layout, weight, ...bias });
  },
  attention: (s) => {
    const [b, kv, groups, d] = [
      s.draw.whole(1, 2),
      s.draw.whole(1, 2),
      s.draw.whole(1, 2),
      s.draw.whole(1, 3),
    ];
    const queries = s.draw.whole(1, 3);
    const keys = queries + s.draw.whole(0, 2);
    // Every query sees the first key: where all is hidden the scores are lost in the mask's size.
    const first = () => add(s.index([b, 1], 1), 1);
    const rest = () => (keys === 1 ? [] : [s.index([b, keys - 1], 2)]);
    const mask = s.draw.pick(true, false) ? { mask: concat([first(), ...rest()], 1) } : {};
    const q = s.real([s.draw.pick(b, 1), kv * groups, queries, d]);
    const k = s.real([b, kv, keys, d]);
    return attention(q, k, s.real([b, kv, keys, 2]), { causal: s.draw.pick(true, false), ...mask });
  },
  swap: (s) => swap(s.real(s.draw.shape(s.draw.whole(2, 4)))),
  sumRows: (s) => sumRows(s.real(s.draw.shape(s.draw.whole(1, 4)))),
  'rotate by angles that are differentiated too': (s) =>
    rotate(s.real([2, 2, 3, 4]), rotationOf(s.real([2, 3, 2]))),
  rope: (s) => rope(s.real([2, 2, 3, 4]), s.index([2, 3], 50), 1e4),
  mrope: (s) => mrope(s.real([2, 2, 3, 12]), s.index([3, 2, 3], 50), 1e4, [2, 3, 1]),
  timestepEmbedding: (s) => timestepEmbedding(s.real([3]), 2 * s.draw.whole(2, 4)),
  crossEntropy: (s) => {
    const [n, t, v] = [s.draw.whole(1, 3), s.draw.whole(1, 3), s.draw.whole(2, 5)];
    const reduction = s.draw.pick('mean' as const, 'sum' as const, 'none' as const);
    return crossEntropy(s.real([n, t, v]), s.index([n, t], v), { ignoreIndex: 0, reduction });
  },
  mse: (s) => mse(s.real([2, 3]), s.real([2, 3])),
  maskedMse: (s) => {
    const mask = s.index([2, 3, 1], 2);
    return maskedMse(
      s.real([2, 3, 2]),
      s.real([2, 3, 2]),
      mask,
      s.draw.pick('kept' as const, 'all' as const),
    );
  },
  'cast between float types': unary((x) => cast(cast(x, 'float16'), 'float32')),
};

/** Exports that pass no gradient: graphs and files, what is made of whole numbers, frozen products. */
const WITHOUT_GRADIENT: readonly (keyof typeof tensor)[] = [
  ...(['Graph', 'GradientError', 'ShapeError', 'gradients', 'peakBytes', 'toOnnx'] as const),
  ...(['elementBytes', 'isFloat', 'sizeOf'] as const),
  ...(['fromBfloat', 'fromHalf', 'toBfloat', 'toHalf'] as const),
  ...(['and', 'or', 'not', 'equal', 'less', 'lessOrEqual', 'greater', 'greaterOrEqual'] as const),
  ...(['argmax', 'oneHot', 'filled', 'zerosLike', 'stopGradient', 'windows', 'loop'] as const),
  ...(['attentionBias', 'causalBias', 'rotation', 'multimodalRotation'] as const),
  ...(['blockLinear', 'blockValues', 'int8Linear', 'quantizeBlocks', 'quantizeColumns'] as const),
];

it('every operation with a gradient has a case', () => {
  const tested = Object.keys(cases).map((name) => name.split(/[ ,]/)[0]);
  // Angles become cosines and sines in its case.
  const covered = new Set([...tested, 'rotationOf', ...WITHOUT_GRADIENT]);
  expect(Object.keys(tensor).filter((name) => !covered.has(name))).toEqual([]);
  expect(WITHOUT_GRADIENT.filter((name) => !(name in tensor))).toEqual([]);
});

const step = 1e-5;

describe('gradients against central differences', () => {
  it.each(Object.keys(cases))('%s', (name) => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.nat()), (stream) => {
        check(cases[name] ?? unknownCase, drawFrom(stream));
      }),
      { numRuns: 12, seed: 7 },
    );
  });
});

const unknownCase: Case = () => {
  throw new Error('no such case');
};

function drawFrom(stream: Iterator<number>): Draw {
  const next = () => {
    const { value } = stream.next() as IteratorYieldResult<number>;
    return value;
  };
  const whole = (lo: number, hi: number) => lo + (next() % (hi - lo + 1));
  return {
    whole,
    shape: (rank, hi = 4) => Array.from({ length: rank }, () => whole(1, hi)),
    pick: (...options) => {
      const option = options[whole(0, options.length - 1)];
      if (option === undefined && options.length === 0) throw new Error('nothing to pick from');
      return option as (typeof options)[number];
    },
  };
}

function check(make: Case, draw: Draw): void {
  const graph = new Graph();
  const feeds: Record<string, NdArray> = {};
  const reals: { name: string; tensor: Tensor }[] = [];
  let count = 0;
  const number = () => draw.whole(0, 1_000_000) / 1_000_000;
  const y = make({
    draw,
    real: (shape, kind) => {
      const name = `x${count++}`;
      // 'apart': all elements differ by more than a step, so that a maximum has no kink nearby.
      const value = (n: number) =>
        kind === 'positive'
          ? 0.3 + 2 * number()
          : kind === 'apart'
            ? ((n * 7919) % 1009) / 200 + 0.001 * number()
            : 4 * number() - 2;
      feeds[name] = {
        shape,
        data: Float64Array.from({ length: sizeOf(shape) }, (_, n) => value(n)),
      };
      const tensor = graph.input(name, 'float32', shape);
      reals.push({ name, tensor });
      return tensor;
    },
    index: (shape, below) => {
      const name = `i${count++}`;
      feeds[name] = build(shape, () => draw.whole(0, below - 1));
      return graph.input(name, 'int64', shape);
    },
  });
  const upstream = graph.input('dy', 'float32', y.shape);
  feeds['dy'] = build(y.shape, () => 2 * number() - 1);
  const wanted = gradients(
    { of: y, upstream },
    reals.map((r) => r.tensor),
  );
  const exact = evaluate(graph, feeds, wanted);
  const target = reduceSum(mul(y, upstream));
  const at = (values: Record<string, NdArray>) =>
    evaluate(graph, values, [target])[0]?.data[0] ?? NaN;
  reals.forEach(({ name }, r) => {
    const { shape, data } = feeds[name] ?? { shape: [], data: new Float64Array() };
    // At most six elements of each input, spread over it.
    for (let n = 0; n < data.length; n += Math.ceil(data.length / 6)) {
      const moved = (by: number) => {
        const other = data.slice();
        other[n] = (other[n] ?? 0) + by;
        return at({ ...feeds, [name]: { shape, data: other } });
      };
      const slope = (moved(step) - moved(-step)) / (2 * step);
      const gradient = exact[r]?.data[n] ?? NaN;
      expect(Math.abs(gradient - slope), `${name}[${n}]: ${gradient} for ${slope}`).toBeLessThan(
        1e-5 * (1 + Math.abs(slope)),
      );
    }
  });
}
