import { RESAMPLE_WASM } from './resample-wasm.ts';

/**
 * Resizing as PIL does it: two passes over u8, across and then down, with fixed-point weights; when
 * shrinking the filter widens by the scale (antialiasing). The passes are WebAssembly, for its vectors:
 * `resample.wat`.
 */
const passes = new WebAssembly.Instance(
  new WebAssembly.Module(Buffer.from(RESAMPLE_WASM, 'base64')),
).exports as {
  readonly memory: WebAssembly.Memory;
  readonly across: (
    source: number,
    width: number,
    height: number,
    taps: number,
    record: number,
    outWidth: number,
    target: number,
  ) => void;
  readonly down: (
    source: number,
    line: number,
    taps: number,
    record: number,
    outHeight: number,
    target: number,
  ) => void;
};

/** `bilinear`: a triangle; `bicubic`: Catmull-Rom (a = −0.5). */
export type ResampleFilter = 'bilinear' | 'bicubic';

const PRECISION_BITS = 32 - 8 - 2;

interface Kernel {
  readonly support: number;
  at(x: number): number;
}

const KERNELS: Readonly<Record<ResampleFilter, Kernel>> = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    at(x) {
      const d = Math.abs(x);
      if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
      return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
    },
  },
};

/** Bytes that a pass may read or write beyond its picture. */
const OVERSHOOT = 16;

/** Taps of one axis as the passes walk them: records of first source index, count of taps, weights. */
interface Taps {
  readonly records: Int32Array;
  /** i32 a record. */
  readonly stride: number;
}

const known = new Map<string, Taps>();

/** Taps from `input` to `output` samples, `step` bytes apart, as PIL's precompute_coeffs has them. */
function tapsOf(filter: ResampleFilter, input: number, output: number, step: number): Taps {
  const key = `${filter}:${input}:${output}:${step}`;
  const found = known.get(key);
  if (found !== undefined) return found;
  const kernel = KERNELS[filter];
  const scale = input / output;
  const widening = Math.max(scale, 1);
  const support = kernel.support * widening;
  const stride = 2 + Math.ceil(support) * 2 + 1;
  const records = new Int32Array(output * stride);
  for (let i = 0; i < output; i++) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(input, Math.trunc(centre + support + 0.5));
    const taps = Array.from({ length: last - first }, (_, k) =>
      kernel.at((k + first - centre + 0.5) / widening),
    );
    const sum = taps.reduce((total, value) => total + value, 0);
    const weights = taps.map((value) => {
      const fixed = (value / sum) * (1 << PRECISION_BITS);
      return Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    });
    records.set([first * step, taps.length, ...weights], i * stride);
  }
  const taps = { records, stride };
  known.set(key, taps);
  return taps;
}

/** Where a resized picture goes: rows of `stride` pixels of RGB. */
export interface Canvas {
  readonly pixels: Uint8Array;
  readonly stride: number;
  readonly left: number;
  readonly top: number;
}

/**
 * Resizes into a place of a larger picture.
 * @param rgb u8 [height, width, 3]
 * @param inner the size of the result
 */
export function resampleInto(
  canvas: Canvas,
  rgb: Uint8Array,
  width: number,
  height: number,
  inner: { readonly width: number; readonly height: number },
  filter: ResampleFilter,
): void {
  const wide = width === inner.width ? undefined : tapsOf(filter, width, inner.width, 3);
  const line = inner.width * 3;
  const high = height === inner.height ? undefined : tapsOf(filter, height, inner.height, line);
  const place = new Places();
  const source = place.of(rgb.length);
  const rows = wide === undefined ? source : place.of(line * height);
  const result = high === undefined ? rows : place.of(line * inner.height);
  const wideTaps = place.of(wide?.records.byteLength ?? 0);
  const highTaps = place.of(high?.records.byteLength ?? 0);
  const bytes = place.reserved();
  bytes.set(rgb, source);
  if (wide !== undefined) {
    new Int32Array(bytes.buffer, wideTaps).set(wide.records);
    passes.across(source, width, height, wideTaps, wide.stride * 4, inner.width, rows);
  }
  if (high !== undefined) {
    new Int32Array(bytes.buffer, highTaps).set(high.records);
    passes.down(rows, line, highTaps, high.stride * 4, inner.height, result);
  }
  const { pixels, stride, left, top } = canvas;
  for (let y = 0; y < inner.height; y++) {
    const from = result + y * line;
    pixels.set(bytes.subarray(from, from + line), ((y + top) * stride + left) * 3);
  }
}

/**
 * @param rgb u8 [height, width, 3]
 * @returns u8 [target.height, target.width, 3]
 */
export function resample(
  rgb: Uint8Array,
  width: number,
  height: number,
  target: { readonly width: number; readonly height: number },
  filter: ResampleFilter,
): Uint8Array {
  const pixels = new Uint8Array(target.width * target.height * 3);
  const canvas = { pixels, stride: target.width, left: 0, top: 0 };
  resampleInto(canvas, rgb, width, height, target, filter);
  return pixels;
}

/** Places one after another in the memory of the passes. */
class Places {
  private end = 0;

  of(bytes: number): number {
    const start = this.end;
    this.end = Math.ceil((start + bytes + OVERSHOOT) / 16) * 16;
    return start;
  }

  /** The memory, as large as all places together. */
  reserved(): Uint8Array {
    const { memory } = passes;
    const missing = this.end - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / 65_536));
    return new Uint8Array(memory.buffer);
  }
}
