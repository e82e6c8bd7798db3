import { reshape } from './broadcast.ts';
import { composite, emit, indices } from './emit.ts';
import type { Tensor } from './graph.ts';
import { matmul, sumRows, swap } from './linalg.ts';
import { after, isLarge } from './order.ts';
import { dim, inverseOrder } from './shapes.ts';

/**
 * Convolutions of stride 1 with fewer multiplications (Winograd 1980; Lavin & Gray 2016): outputs are made in
 * tiles of four, each from as many products as it has inputs instead of four times the kernel's length. Transforms
 * of all tiles of an axis are one constant matrix, so that all of it is products, forward and backward.
 */

/** Outputs of a tile. */
const TILE = 4;
/** Where the tile's polynomials are evaluated, and at infinity: kernels up to five wide; errors stay within 1e-6. */
const POINTS = [0, 1, -1, 0.5, -2, 2, -0.5] as const;
/** Rows of each product and channels from which on the transforms cost less than they save. */
const [ROWS, CHANNELS] = [256, 32];
/** Share of the direct way's multiplications that may be left. */
const LEFT = 0.5;

/** An axis of a convolution of stride 1. */
export interface Axis {
  readonly kernel: number;
  readonly padding: number;
  /** Positions of the input and of the output. */
  readonly from: number;
  readonly to: number;
}

interface Transforms {
  /** Points at which a tile is evaluated. */
  readonly points: number;
  readonly tiles: number;
  /** Input to points: [points · tiles, from], points slowest. */
  readonly input: Float32Array;
  /** Kernel to points: [points, kernel]. */
  readonly kernel: Float32Array;
  /** Products to output: [to, points · tiles]. */
  readonly output: Float32Array;
}

const pointsOf = (axis: Axis): number => TILE + axis.kernel - 1;
const tilesOf = (axis: Axis): number => Math.ceil(axis.to / TILE);

/**
 * Whether a convolution along these axes is faster in tiles.
 * @param x [batch, …positions, channels]
 * @param features channels of the output
 */
export function paysInTiles(x: Tensor, axes: readonly Axis[], features: number): boolean {
  const share = axes.reduce(
    (part, axis) => (part * (pointsOf(axis) * tilesOf(axis))) / (axis.to * axis.kernel),
    1,
  );
  const rows = axes.reduce((count, axis) => count * tilesOf(axis), dim(x.shape, 0));
  return (
    !x.graph.inference &&
    x.dtype === 'float32' &&
    axes.every(({ kernel }) => kernel >= 2 && TILE + kernel - 2 <= POINTS.length) &&
    share <= LEFT &&
    rows >= ROWS &&
    Math.min(dim(x.shape, -1), features) >= CHANNELS
  );
}

/** x [B, L, in], w [kernel, in, out] → [B, to, out]. */
export function tiledConv1d(x: Tensor, w: Tensor, axis: Axis): Tensor {
  const [batch, inner, features] = [dim(x.shape, 0), dim(x.shape, 2), dim(w.shape, 2)];
  const { points, tiles, ...along } = transformsOf(axis);
  const outwards = byPoint(batch, points);
  const evaluated = mapped(x, along.input, points * tiles);
  const apart = moved(reshape(evaluated, [batch * points, tiles * inner]), outwards);
  const kernels = mapped(reshape(w, [axis.kernel, inner * features]), along.kernel, points);
  const products = product(
    reshape(apart, [points, batch * tiles, inner]),
    reshape(kernels, [points, inner, features]),
  );
  const together = moved(
    reshape(products, [points * batch, tiles * features]),
    inverseOrder(outwards),
  );
  return mapped(reshape(together, [batch, points * tiles, features]), along.output, axis.to);
}

/** x [B, H, W, in], w [kernel, kernel, in, out] → [B, …to, out]. */
export function tiledConv2d(x: Tensor, w: Tensor, down: Axis, across: Axis): Tensor {
  const [batch, inner, features] = [dim(x.shape, 0), dim(x.shape, 3), dim(w.shape, 3)];
  const [rows, columns] = [transformsOf(down), transformsOf(across)];
  const points = rows.points * columns.points;
  const [high, wide] = [rows.points * rows.tiles, columns.points * columns.tiles];
  // Positions first: a transform is then one product with as many columns as the batch has channels.
  const first = moved(
    reshape(x, [batch * down.from * across.from, inner]),
    byPoint(batch, down.from * across.from),
  );
  const byRow = mapped(reshape(first, [down.from, across.from * batch * inner]), rows.input, high);
  const evaluated = mapped(reshape(byRow, [high, across.from, batch * inner]), columns.input, wide);
  const outwards = bothPoints(rows.points, rows.tiles, columns.points);
  const apart = moved(
    reshape(evaluated, [high * columns.points, columns.tiles * batch * inner]),
    outwards,
  );
  const kernels = mapped(
    reshape(w, [down.kernel * across.kernel, inner * features]),
    kronecker(rows, columns, down.kernel, across.kernel),
    points,
  );
  const products = product(
    reshape(apart, [points, rows.tiles * columns.tiles * batch, inner]),
    reshape(kernels, [points, inner, features]),
  );
  const together = moved(
    reshape(products, [high * columns.points, columns.tiles * batch * features]),
    inverseOrder(outwards),
  );
  const joined = mapped(
    reshape(together, [high, wide, batch * features]),
    columns.output,
    across.to,
  );
  const whole = mapped(reshape(joined, [high, across.to * batch * features]), rows.output, down.to);
  const last = moved(
    reshape(whole, [down.to * across.to * batch, features]),
    inverseOrder(byPoint(batch, down.to * across.to)),
  );
  return reshape(last, [batch, down.to, across.to, features]);
}

/** x […, C] plus a row [C] that is the same everywhere. */
export function withBias(x: Tensor, bias: Tensor | undefined): Tensor {
  if (bias === undefined) return x;
  return emit('Add', [x, bias], { dtype: x.dtype, shape: x.shape }, {}, [(dy) => dy, sumRows]);
}

/** A constant matrix [count, n] along the last axis but one: x […, n, C] → […, count, C]. */
function mapped(x: Tensor, matrix: Float32Array, count: number): Tensor {
  const [n, width] = [dim(x.shape, -2), dim(x.shape, -1)];
  const shape = [...x.shape.slice(0, -2), count, width];
  const constant = x.graph.constant(matrix, [count, n]);
  return emit('MatMul', [constant, x], { dtype: x.dtype, shape }, {}, [
    null,
    (dy) => mapped(dy, transposed(matrix, count, n), n),
  ]);
}

/** Row i of the result is row `order[i]` of x [R, C]; every row is taken once. */
function moved(x: Tensor, order: readonly number[]): Tensor {
  const output = { dtype: x.dtype, shape: x.shape };
  return emit('Gather', [x, indices(x.graph, order)], output, { axis: { int: 0 } }, [
    (dy) => moved(dy, inverseOrder(order)),
    null,
  ]);
}

/** a [P, R, in] · b [P, in, out], whose gradient to b is made while what it reads is in the cache. */
function product(a: Tensor, b: Tensor): Tensor {
  return composite([a, b], matmul(a, b), (dy, [toA, toB]) => {
    const ofB = toB === true ? matmul(swap(a), dy) : undefined;
    const weight = isLarge(dy) ? after(b, ofB) : b;
    return [toA === true ? matmul(dy, swap(weight)) : undefined, ofB];
  });
}

/** Rows [batch, count] in the order [count, batch]. */
function byPoint(batch: number, count: number): number[] {
  return Array.from(
    { length: batch * count },
    (_, i) => (i % batch) * count + Math.floor(i / batch),
  );
}

/** Rows [down, tiles, across] in the order [down, across, tiles]. */
function bothPoints(down: number, tiles: number, across: number): number[] {
  return Array.from({ length: down * tiles * across }, (_, i) => {
    const [p, q, tile] = [
      Math.floor(i / (across * tiles)),
      Math.floor(i / tiles) % across,
      i % tiles,
    ];
    return (p * tiles + tile) * across + q;
  });
}

/** What takes both axes of a kernel to the points of both: [points, kernel · kernel]. */
function kronecker(
  rows: Transforms,
  columns: Transforms,
  down: number,
  across: number,
): Float32Array {
  const out = new Float32Array(rows.points * columns.points * down * across);
  let at = 0;
  for (let p = 0; p < rows.points; p++) {
    for (let q = 0; q < columns.points; q++) {
      for (let i = 0; i < down; i++) {
        for (let j = 0; j < across; j++) {
          out[at++] = (rows.kernel[p * down + i] ?? NaN) * (columns.kernel[q * across + j] ?? NaN);
        }
      }
    }
  }
  return out;
}

function transformsOf(axis: Axis): Transforms {
  const { kernel, padding, from, to } = axis;
  const [points, tiles] = [pointsOf(axis), tilesOf(axis)];
  const tile = tileOf(kernel);
  const input = new Float32Array(points * tiles * from);
  const output = new Float32Array(to * points * tiles);
  for (let p = 0; p < points; p++) {
    for (let t = 0; t < tiles; t++) {
      const row = p * tiles + t;
      tile.input[p]?.forEach((value, j) => {
        const position = t * TILE + j - padding;
        if (position >= 0 && position < from) input[row * from + position] = value;
      });
      tile.output.forEach((values, i) => {
        const position = t * TILE + i;
        if (position < to) output[position * points * tiles + row] = values[p] ?? NaN;
      });
    }
  }
  return { points, tiles, input, output, kernel: Float32Array.from(tile.kernel.flat()) };
}

/**
 * The transforms of one tile. Polynomials are multiplied by their values at the points (Toom & Cook); a
 * convolution is that product transposed, so that the input meets the inverse and the output the values.
 */
function tileOf(kernel: number): {
  input: readonly number[][];
  kernel: readonly number[][];
  output: readonly number[][];
} {
  const count = TILE + kernel - 1;
  const values = (terms: number): number[][] => [
    ...POINTS.slice(0, count - 1).map((point) =>
      Array.from({ length: terms }, (_, power) => point ** power),
    ),
    Array.from({ length: terms }, (_, power) => (power === terms - 1 ? 1 : 0)),
  ];
  return {
    input: transposedRows(inverted(values(count))),
    kernel: values(kernel),
    output: transposedRows(values(TILE)),
  };
}

function transposed(matrix: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(
    { length: matrix.length },
    (_, i) => matrix[(i % rows) * columns + Math.floor(i / rows)] ?? NaN,
  );
}

function transposedRows(matrix: readonly (readonly number[])[]): number[][] {
  return (matrix[0] ?? []).map((_, j) => matrix.map((row) => row[j] ?? NaN));
}

/** By elimination with the largest pivot. */
function inverted(matrix: readonly (readonly number[])[]): number[][] {
  const n = matrix.length;
  const work = matrix.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))]);
  const at = (i: number, j: number): number => work[i]?.[j] ?? NaN;
  for (let c = 0; c < n; c++) {
    let pivot = c;
    for (let i = c + 1; i < n; i++) if (Math.abs(at(i, c)) > Math.abs(at(pivot, c))) pivot = i;
    const lead = work[pivot] as number[];
    work[pivot] = work[c] as number[];
    const scaled = lead.map((value) => value / (lead[c] ?? NaN));
    work[c] = scaled;
    for (let i = 0; i < n; i++) {
      const factor = at(i, c);
      if (i === c || factor === 0) continue;
      work[i] = (work[i] as number[]).map((value, j) => value - factor * (scaled[j] ?? NaN));
    }
  }
  return work.map((row) => row.slice(n));
}
