/**
 * The one image pre-processing of training, evaluation and serving: aspect-keeping resize with an
 * antialiased triangle filter, in the fixed-point arithmetic of PIL (openpi's resize_with_pad),
 * centred on black. Its version travels with every policy, since a policy trained on other pixels
 * must never be served with these.
 */
export const PREPROCESS_HASH = 'resize-with-pad/bilinear-antialias/u8/1';

/** This module, for threads that load `preprocessImage` by themselves. */
export const PREPROCESS_MODULE = new URL(import.meta.url);

export interface ImageSize {
  readonly width: number;
  readonly height: number;
}

/** A picture that cannot be pre-processed. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
}

const PRECISION_BITS = 32 - 8 - 2;
const HALF = 1 << (PRECISION_BITS - 1);

interface Filter {
  /** First source index of each output index. */
  readonly start: Int32Array;
  /** Taps of each output index. */
  readonly count: Int32Array;
  /** Fixed-point weights, `stride` apart. */
  readonly weights: Int32Array;
  readonly stride: number;
}

const filters = new Map<string, Filter>();

/** Triangle filter from `input` to `output` samples, as PIL's precompute_coeffs has it. */
function triangleFilter(input: number, output: number): Filter {
  const key = `${input}:${output}`;
  const known = filters.get(key);
  if (known !== undefined) return known;
  const scale = input / output;
  const support = Math.max(scale, 1);
  const stride = Math.ceil(support) * 2 + 1;
  const start = new Int32Array(output);
  const count = new Int32Array(output);
  const weights = new Int32Array(output * stride);
  for (let i = 0; i < output; i++) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(input, Math.trunc(centre + support + 0.5));
    const taps = Array.from({ length: last - first }, (_, k) =>
      Math.max(0, 1 - Math.abs((k + first - centre + 0.5) / support)),
    );
    const sum = taps.reduce((total, value) => total + value, 0);
    start[i] = first;
    count[i] = last - first;
    taps.forEach((value, k) => {
      weights[i * stride + k] = Math.round((value / sum) * (1 << PRECISION_BITS));
    });
  }
  const filter = { start, count, weights, stride };
  filters.set(key, filter);
  return filter;
}

/** Size of the picture inside the target, and where it lies: openpi's rule, by truncation. */
export function fitInside(
  width: number,
  height: number,
  target: ImageSize,
): { width: number; height: number; left: number; top: number } {
  const ratio = Math.max(width / target.width, height / target.height);
  const innerWidth = Math.max(1, Math.trunc(width / ratio));
  const innerHeight = Math.max(1, Math.trunc(height / ratio));
  return {
    width: innerWidth,
    height: innerHeight,
    left: Math.max(0, Math.trunc((target.width - innerWidth) / 2)),
    top: Math.max(0, Math.trunc((target.height - innerHeight) / 2)),
  };
}

/**
 * @param rgb u8 [height, width, 3]
 * @returns u8 [target.height, target.width, 3]
 * @throws ImageError when the bytes do not fit the size.
 */
export function preprocessImage(
  rgb: Uint8Array,
  width: number,
  height: number,
  target: ImageSize,
): Uint8Array {
  if (width < 1 || height < 1 || rgb.length !== width * height * 3) {
    throw new ImageError(
      `picture of ${width}×${height} needs ${width * height * 3} bytes of RGB, got ${rgb.length}`,
    );
  }
  if (width === target.width && height === target.height) return rgb;
  const fit = fitInside(width, height, target);
  const out = new Uint8Array(target.width * target.height * 3);
  const rows = resizeRows(rgb, width, height, fit.width);
  resizeColumns(rows, fit.width, height, fit.height, out, target.width, fit.left, fit.top);
  return out;
}

function resizeRows(rgb: Uint8Array, width: number, height: number, outWidth: number): Uint8Array {
  if (outWidth === width) return rgb;
  const { start, count, weights, stride } = triangleFilter(width, outWidth);
  const out = new Uint8Array(outWidth * height * 3);
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
  return out;
}

function resizeColumns(
  rows: Uint8Array,
  width: number,
  height: number,
  outHeight: number,
  out: Uint8Array,
  outStride: number,
  left: number,
  top: number,
): void {
  const line = width * 3;
  if (outHeight === height) {
    for (let y = 0; y < height; y++) {
      out.set(rows.subarray(y * line, (y + 1) * line), ((y + top) * outStride + left) * 3);
    }
    return;
  }
  const { start, count, weights, stride } = triangleFilter(height, outHeight);
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
    for (let i = 0; i < line; i++) out[target + i] = (sums[i] as number) >> PRECISION_BITS;
  }
}
