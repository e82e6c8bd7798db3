import { at, atBroadcast, build, common, fold, map, set, zip } from './array.ts';
import type { NdArray } from './array.ts';

/** ONNX operators in float64, each from the words of its specification. */

export interface Attributes {
  int(name: string, fallback?: number): number;
  ints(name: string): readonly number[];
  float(name: string): number;
  text(name: string): string;
}

export type Kernel = (inputs: readonly NdArray[], a: Attributes) => readonly NdArray[];

/** erf by its series and continued fraction, good to 1e-15. */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (z > 6) return Math.sign(x);
  if (z < 2.5) {
    let [term, sum] = [z, z];
    for (let n = 1; n < 80; n += 1) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n >= 1; n -= 1) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction));
}

const geluErf = (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2));
const geluTanh = (x: number) =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

const one =
  (f: (x: number) => number): Kernel =>
  ([x]) => [map(need(x), f)];
const two =
  (f: (x: number, y: number) => number): Kernel =>
  ([x, y]) => [zip(need(x), need(y), f)];
const truth = (f: (x: number, y: number) => boolean): Kernel => two((x, y) => (f(x, y) ? 1 : 0));

export function need(x: NdArray | undefined): NdArray {
  if (x === undefined) throw new Error('an input is missing');
  return x;
}

function list(x: NdArray | undefined): number[] {
  return [...need(x).data];
}

function axisOf(axis: number, x: NdArray): number {
  return axis < 0 ? axis + x.shape.length : axis;
}

function replaced(index: readonly number[], axis: number, value: number): number[] {
  return index.map((v, i) => (i === axis ? value : v));
}

function reduction(start: number, f: (a: number, b: number) => number, mean = false): Kernel {
  return ([x, axes], a) => {
    const input = need(x);
    const over = list(axes);
    const y = fold(input, over, a.int('keepdims') === 1, start, f);
    const count = over.reduce((n, axis) => n * (input.shape[axis] ?? 1), 1);
    return [mean ? map(y, (v) => v / count) : y];
  };
}

function logSoftmax(x: NdArray, axis: number): NdArray {
  const top = fold(x, [axis], true, -Infinity, Math.max);
  const shifted = zip(x, top, (v, t) => v - t);
  const sums = fold(map(shifted, Math.exp), [axis], true, 0, (s, v) => s + v);
  return zip(shifted, sums, (v, s) => v - Math.log(s));
}

function matmul(a: NdArray, b: NdArray): NdArray {
  const lead = common(
    { shape: a.shape.slice(0, -2), data: a.data },
    { shape: b.shape.slice(0, -2), data: b.data },
  );
  const [m, k, n] = [a.shape.at(-2) ?? 0, a.shape.at(-1) ?? 0, b.shape.at(-1) ?? 0];
  const pick = (x: NdArray, index: readonly number[], i: number, j: number) => {
    const own = index.slice(index.length - x.shape.length + 2);
    return at(x, [...own.map((v, axis) => (x.shape[axis] === 1 ? 0 : v)), i, j]);
  };
  return build([...lead, m, n], (index) => {
    const [before, i, j] = [index.slice(0, -2), index.at(-2) ?? 0, index.at(-1) ?? 0];
    let sum = 0;
    for (let t = 0; t < k; t += 1) sum += pick(a, before, i, t) * pick(b, before, t, j);
    return sum;
  });
}

function flip(x: NdArray): NdArray {
  return build([...x.shape].reverse(), ([i, j]) => at(x, [j ?? 0, i ?? 0]));
}

function normalise(centred: boolean): Kernel {
  return ([x, scale, bias], a) => {
    const input = need(x);
    const axis = [input.shape.length - 1];
    const width = input.shape.at(-1) ?? 1;
    const mean = map(
      fold(input, axis, true, 0, (s, v) => s + v),
      (s) => (centred ? s / width : 0),
    );
    const moved = zip(input, mean, (v, m) => v - m);
    const square = fold(moved, axis, true, 0, (s, v) => s + v * v);
    const deviation = map(square, (s) => 1 / Math.sqrt(s / width + a.float('epsilon')));
    const plain = zip(
      zip(moved, deviation, (v, d) => v * d),
      need(scale),
      (v, s) => v * s,
    );
    const y = bias === undefined ? plain : zip(plain, bias, (v, b) => v + b);
    return centred ? [y, mean, deviation] : [y, deviation];
  };
}

function scatter(x: NdArray, index: NdArray, updates: NdArray, axis: number): NdArray {
  const y = { shape: x.shape, data: x.data.slice() };
  build(index.shape, (i) => {
    const to = replaced(i, axis, at(index, i));
    set(y, to, at(y, to) + at(updates, i));
    return 0;
  });
  return y;
}

/** Every pair of input and output positions that a convolution's kernel element joins. */
function eachTap(
  x: NdArray,
  w: NdArray,
  y: readonly number[],
  a: Attributes,
  visit: (image: number[], weight: number[], result: number[]) => void,
): void {
  const [stride, padding] = [a.ints('strides'), a.ints('pads')];
  build([...y, ...w.shape.slice(1)], (index) => {
    const [b = 0, o = 0, h = 0, v = 0, c = 0, i = 0, j = 0] = index;
    const row = h * (stride[0] ?? 1) + i - (padding[0] ?? 0);
    const column = v * (stride[1] ?? 1) + j - (padding[1] ?? 0);
    if (row >= 0 && column >= 0 && row < (x.shape[2] ?? 0) && column < (x.shape[3] ?? 0)) {
      visit([b, c, row, column], [o, c, i, j], [b, o, h, v]);
    }
    return 0;
  });
}

function conv(x: NdArray, w: NdArray, bias: NdArray | undefined, a: Attributes): NdArray {
  const side = (axis: number) => {
    const whole =
      (x.shape[axis + 2] ?? 0) + (a.ints('pads')[axis] ?? 0) + (a.ints('pads')[axis + 2] ?? 0);
    return Math.floor((whole - (w.shape[axis + 2] ?? 0)) / (a.ints('strides')[axis] ?? 1)) + 1;
  };
  const shape = [x.shape[0] ?? 0, w.shape[0] ?? 0, side(0), side(1)];
  const y = build(shape, ([, o]) => (bias === undefined ? 0 : at(bias, [o ?? 0])));
  eachTap(x, w, shape, a, (from, tap, to) => set(y, to, at(y, to) + at(x, from) * at(w, tap)));
  return y;
}

function convTranspose(dy: NdArray, w: NdArray, a: Attributes): NdArray {
  const side = (axis: number) =>
    ((dy.shape[axis + 2] ?? 0) - 1) * (a.ints('strides')[axis] ?? 1) +
    (a.ints('output_padding')[axis] ?? 0) +
    (w.shape[axis + 2] ?? 0) -
    (a.ints('pads')[axis] ?? 0) -
    (a.ints('pads')[axis + 2] ?? 0);
  const x = build([dy.shape[0] ?? 0, w.shape[1] ?? 0, side(0), side(1)], () => 0);
  eachTap(x, w, dy.shape, a, (to, tap, from) => set(x, to, at(x, to) + at(dy, from) * at(w, tap)));
  return x;
}

export const kernels: Readonly<Record<string, Kernel>> = {
  Add: two((x, y) => x + y),
  Sub: two((x, y) => x - y),
  Mul: two((x, y) => x * y),
  Div: two((x, y) => x / y),
  Pow: two((x, y) => x ** y),
  Max: two(Math.max),
  Min: two(Math.min),
  Neg: one((x) => -x),
  Exp: one(Math.exp),
  Log: one(Math.log),
  Sqrt: one(Math.sqrt),
  Reciprocal: one((x) => 1 / x),
  Abs: one(Math.abs),
  Sign: one(Math.sign),
  Sin: one(Math.sin),
  Cos: one(Math.cos),
  Erf: one(erf),
  Tanh: one(Math.tanh),
  Sigmoid: one((x) => 1 / (1 + Math.exp(-x))),
  Softplus: one((x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  Relu: one((x) => Math.max(x, 0)),
  Gelu: ([x], a) => [map(need(x), a.text('approximate') === 'tanh' ? geluTanh : geluErf)],
  Identity: one((x) => x),
  Not: one((x) => (x === 0 ? 1 : 0)),
  Cast: ([x], a) => [map(need(x), (v) => castTo(a.int('to'), v))],
  Equal: truth((x, y) => x === y),
  Less: truth((x, y) => x < y),
  LessOrEqual: truth((x, y) => x <= y),
  Greater: truth((x, y) => x > y),
  GreaterOrEqual: truth((x, y) => x >= y),
  And: truth((x, y) => x !== 0 && y !== 0),
  Or: truth((x, y) => x !== 0 || y !== 0),
  Clip: ([x, lo, hi]) => [
    map(need(x), (v) => Math.min(Math.max(v, at(need(lo), [])), at(need(hi), []))),
  ],
  Where: ([c, x, y]) => [
    build(common(need(c), need(x), need(y)), (i) =>
      atBroadcast(need(atBroadcast(need(c), i) !== 0 ? x : y), i),
    ),
  ],
  Reshape: ([x, shape]) => [{ shape: list(shape), data: need(x).data }],
  Expand: ([x, shape]) => [build(list(shape), (i) => atBroadcast(need(x), i))],
  ReduceSum: reduction(0, (s, v) => s + v),
  ReduceMean: reduction(0, (s, v) => s + v, true),
  ReduceMax: reduction(-Infinity, Math.max),
  Softmax: ([x], a) => [map(logSoftmax(need(x), axisOf(a.int('axis'), need(x))), Math.exp)],
  LogSoftmax: ([x], a) => [logSoftmax(need(x), axisOf(a.int('axis'), need(x)))],
  Transpose: ([x], a) => {
    const [input, perm] = [need(x), a.ints('perm')];
    const shape = perm.map((p) => input.shape[p] ?? 0);
    return [
      build(shape, (i) =>
        at(
          input,
          input.shape.map((_, axis) => i[perm.indexOf(axis)] ?? 0),
        ),
      ),
    ];
  },
  Concat: (xs, a) => {
    const first = need(xs[0]);
    const axis = a.int('axis');
    const sizes = xs.map((x) => x.shape[axis] ?? 0);
    const shape = replaced(
      first.shape,
      axis,
      sizes.reduce((s, v) => s + v, 0),
    );
    return [
      build(shape, (i) => {
        let [which, place] = [0, i[axis] ?? 0];
        while (place >= (sizes[which] ?? Infinity)) place -= sizes[which++] ?? 0;
        return at(need(xs[which]), replaced(i, axis, place));
      }),
    ];
  },
  Split: ([x, sizes], a) => {
    const [input, axis] = [need(x), a.int('axis')];
    let start = 0;
    return list(sizes).map((size) => {
      const from = start;
      start += size;
      const shape = replaced(input.shape, axis, size);
      return build(shape, (i) => at(input, replaced(i, axis, (i[axis] ?? 0) + from)));
    });
  },
  Slice: ([x, starts, ends, axes, steps]) => {
    const input = need(x);
    const [from, to, over, by] = [list(starts), list(ends), list(axes), list(steps)];
    const range = (axis: number) => {
      const n = over.indexOf(axis);
      return n < 0 ? undefined : { start: from[n] ?? 0, end: to[n] ?? 0, step: by[n] ?? 1 };
    };
    const shape = input.shape.map((d, axis) => {
      const r = range(axis);
      return r === undefined ? d : Math.ceil((r.end - r.start) / r.step);
    });
    const source = (i: readonly number[]) =>
      i.map((v, axis) => {
        const r = range(axis);
        return r === undefined ? v : r.start + v * r.step;
      });
    return [build(shape, (i) => at(input, source(i)))];
  },
  Pad: ([x, amounts, value]) => {
    const [input, pads] = [need(x), list(amounts)];
    const rank = input.shape.length;
    const shape = input.shape.map((d, i) => d + (pads[i] ?? 0) + (pads[i + rank] ?? 0));
    return [
      build(shape, (index) => {
        const from = index.map((v, i) => v - (pads[i] ?? 0));
        const inside = from.every((v, i) => v >= 0 && v < (input.shape[i] ?? 0));
        return inside ? at(input, from) : at(need(value), []);
      }),
    ];
  },
  MatMul: ([a, b]) => [matmul(need(a), need(b))],
  Gemm: ([a, b, c], attributes) => {
    const left = attributes.int('transA', 0) === 1 ? flip(need(a)) : need(a);
    const right = attributes.int('transB', 0) === 1 ? flip(need(b)) : need(b);
    const product = matmul(left, right);
    return [c === undefined ? product : zip(product, c, (x, y) => x + y)];
  },
  Gather: ([x, index], a) => {
    const [input, picked, axis] = [need(x), need(index), a.int('axis')];
    const rank = picked.shape.length;
    const shape = [...input.shape.slice(0, axis), ...picked.shape, ...input.shape.slice(axis + 1)];
    return [
      build(shape, (i) => {
        const entry = at(picked, i.slice(axis, axis + rank));
        return at(input, [...i.slice(0, axis), entry, ...i.slice(axis + rank)]);
      }),
    ];
  },
  GatherElements: ([x, index], a) => [
    build(need(index).shape, (i) => at(need(x), replaced(i, a.int('axis'), at(need(index), i)))),
  ],
  ScatterElements: ([x, index, updates], a) => {
    if (a.text('reduction') !== 'add') throw new Error('only adding is known');
    return [scatter(need(x), need(index), need(updates), a.int('axis'))];
  },
  LayerNormalization: normalise(true),
  SimplifiedLayerNormalization: normalise(false),
  Conv: ([x, w, bias], a) => [conv(need(x), need(w), bias, a)],
  ConvTranspose: ([dy, w], a) => [convTranspose(need(dy), need(w), a)],
  ArgMax: ([x], a) => {
    const [input, axis] = [need(x), a.int('axis')];
    const kept = build(replaced(input.shape, axis, 1), (i) => {
      const line = Array.from({ length: input.shape[axis] ?? 0 }, (_, v) =>
        at(input, replaced(i, axis, v)),
      );
      return line.indexOf(Math.max(...line));
    });
    const shape = a.int('keepdims') === 1 ? kept.shape : kept.shape.filter((_, i) => i !== axis);
    return [{ shape, data: kept.data }];
  },
};

const boolType = 9;
const wholeTypes: readonly number[] = [2, 3, 6, 7];

function castTo(type: number, value: number): number {
  if (type === boolType) return value === 0 ? 0 : 1;
  return wholeTypes.includes(type) ? Math.trunc(value) : value;
}
