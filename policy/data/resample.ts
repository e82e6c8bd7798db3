/**
 * Resizing as PIL does it: two passes over u8, across and then down, with fixed-point weights; when
 * shrinking the filter widens by the scale (antialiasing).
 */

/** `bilinear`: a triangle; `bicubic`: Catmull-Rom (a = −0.5). */
export type ResampleFilter = 'bilinear' | 'bicubic';

const PRECISION_BITS = 32 - 8 - 2;
const HALF = 1 << (PRECISION_BITS - 1);

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

interface Taps {
  /** First source index of each output index. */
  readonly start: Int32Array;
  /** Taps of each output index. */
  readonly count: Int32Array;
  /** Fixed-point weights, `stride` apart. */
  readonly weights: Int32Array;
  readonly stride: number;
}

const known = new Map<string, Taps>();

/** Taps from `input` to `output` samples, as PIL's precompute_coeffs has them. */
function tapsOf(filter: ResampleFilter, input: number, output: number): Taps {
  const key = `${filter}:${input}:${output}`;
  const found = known.get(key);
  if (found !== undefined) return found;
  const kernel = KERNELS[filter];
  const scale = input / output;
  const widening = Math.max(scale, 1);
  const support = kernel.support * widening;
  const stride = Math.ceil(support) * 2 + 1;
  const start = new Int32Array(output);
  const count = new Int32Array(output);
  const weights = new Int32Array(output * stride);
  for (let i = 0; i < output; i++) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(input, Math.trunc(centre + support + 0.5));
    const taps = Array.from({ length: last - first }, (_, k) =>
      kernel.at((k + first - centre + 0.5) / widening),
    );
    const sum = taps.reduce((total, value) => total + value, 0);
    start[i] = first;
    count[i] = last - first;
    taps.forEach((value, k) => {
      const fixed = (value / sum) * (1 << PRECISION_BITS);
      weights[i * stride + k] = Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    });
  }
  const taps = { start, count, weights, stride };
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
  const rows = across(rgb, width, height, inner.width, filter);
  down(rows, inner.width, height, inner.height, filter, canvas);
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

function across(
  rgb: Uint8Array,
  width: number,
  height: number,
  outWidth: number,
  filter: ResampleFilter,
): Uint8Array {
  if (outWidth === width) return rgb;
  const { start, count, weights, stride } = tapsOf(filter, width, outWidth);
  // Clamped, since a cubic's negative lobes overshoot.
  const out = new Uint8ClampedArray(outWidth * height * 3);
  let o = 0;
  for (let y = 0; y < height; y++) {
    const row = y * width * 3;
    for (let x = 0; x < outWidth; x++) {
      const taps = count[x] as number;
      let p = row + (start[x] as number) * 3;
      let w = x * stride;
      let r = HALF;
      let g = HALF;
      let b = HALF;
      for (let k = 0; k < taps; k++, p += 3, w++) {
        const weight = weights[w] as number;
        r += (rgb[p] as number) * weight;
        g += (rgb[p + 1] as number) * weight;
        b += (rgb[p + 2] as number) * weight;
      }
      out[o++] = r >> PRECISION_BITS;
      out[o++] = g >> PRECISION_BITS;
      out[o++] = b >> PRECISION_BITS;
    }
  }
  return new Uint8Array(out.buffer);
}

function down(
  rows: Uint8Array,
  width: number,
  height: number,
  outHeight: number,
  filter: ResampleFilter,
  { pixels, stride: outStride, left, top }: Canvas,
): void {
  const line = width * 3;
  if (outHeight === height) {
    for (let y = 0; y < height; y++) {
      pixels.set(rows.subarray(y * line, (y + 1) * line), ((y + top) * outStride + left) * 3);
    }
    return;
  }
  const clamped = new Uint8ClampedArray(pixels.buffer, pixels.byteOffset, pixels.byteLength);
  const { start, count, weights, stride } = tapsOf(filter, height, outHeight);
  const sums = new Int32Array(line);
  for (let y = 0; y < outHeight; y++) {
    sums.fill(HALF);
    const taps = count[y] as number;
    for (let k = 0; k < taps; k++) {
      const weight = weights[y * stride + k] as number;
      const source = ((start[y] as number) + k) * line;
      for (let i = 0; i < line; i++) {
        sums[i] = (sums[i] as number) + (rows[source + i] as number) * weight;
      }
    }
    const target = ((y + top) * outStride + left) * 3;
    for (let i = 0; i < line; i++) clamped[target + i] = (sums[i] as number) >> PRECISION_BITS;
  }
}
