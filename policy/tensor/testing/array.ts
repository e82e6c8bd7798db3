/** Float64 arrays with shapes, for the reference interpreter. Plain loops over index vectors. */

export interface NdArray {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** An array whose element at each index is given by a function of the index. */
export function build(shape: readonly number[], at: (index: readonly number[]) => number): NdArray {
  const data = new Float64Array(sizeOf(shape));
  const index = shape.map(() => 0);
  for (let n = 0; n < data.length; n += 1) {
    data[n] = at(index);
    for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
      const next = (index[axis] ?? 0) + 1;
      index[axis] = next === shape[axis] ? 0 : next;
      if (index[axis] !== 0) break;
    }
  }
  return { shape: [...shape], data };
}

function offset(shape: readonly number[], index: readonly number[]): number {
  return shape.reduce((at, d, i) => at * d + (index[i] ?? 0), 0);
}

/** The element at an index of the array's own rank. */
export function at(x: NdArray, index: readonly number[]): number {
  const value = x.data[offset(x.shape, index)];
  if (value === undefined) throw new Error(`no element [${index.join()}] in [${x.shape.join()}]`);
  return value;
}

export function set(x: NdArray, index: readonly number[], value: number): void {
  x.data[offset(x.shape, index)] = value;
}

/** The element that broadcasting puts at an index of higher or equal rank. */
export function atBroadcast(x: NdArray, index: readonly number[]): number {
  const own = index.slice(index.length - x.shape.length);
  return at(
    x,
    own.map((i, axis) => (x.shape[axis] === 1 ? 0 : i)),
  );
}

/** The shape that arrays broadcast to. */
export function common(...xs: readonly NdArray[]): number[] {
  const rank = Math.max(...xs.map((x) => x.shape.length));
  return Array.from({ length: rank }, (_, i) => {
    const sizes = xs.map((x) => x.shape[i - rank + x.shape.length] ?? 1);
    return sizes.find((s) => s !== 1) ?? 1;
  });
}

export function zip(x: NdArray, y: NdArray, f: (a: number, b: number) => number): NdArray {
  return build(common(x, y), (i) => f(atBroadcast(x, i), atBroadcast(y, i)));
}

export function map(x: NdArray, f: (a: number) => number): NdArray {
  return { shape: x.shape, data: x.data.map(f) };
}

/** Reduces axes by folding their elements in order. */
export function fold(
  x: NdArray,
  axes: readonly number[],
  keep: boolean,
  start: number,
  f: (a: number, b: number) => number,
): NdArray {
  const kept = x.shape.map((d, i) => (axes.includes(i) ? 1 : d));
  const out = build(kept, () => start);
  build(x.shape, (index) => {
    const to = index.map((v, i) => (axes.includes(i) ? 0 : v));
    set(out, to, f(at(out, to), at(x, index)));
    return 0;
  });
  return keep ? out : { shape: x.shape.filter((_, i) => !axes.includes(i)), data: out.data };
}
