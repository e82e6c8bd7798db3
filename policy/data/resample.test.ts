import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assembledWat } from '../../test/support/assembled-wat.ts';
import { resample, resampleInto, type ResampleFilter } from './resample.ts';

const triangle = (x: number): number => Math.max(0, 1 - Math.abs(x));
/** Keys' cubic with a = −1/2, in the form of his paper. */
const cubic = (x: number): number => {
  const d = Math.abs(x);
  if (d <= 1) return (3 / 2) * d ** 3 - (5 / 2) * d ** 2 + 1;
  return d <= 2 ? (-1 / 2) * d ** 3 + (5 / 2) * d ** 2 - 4 * d + 2 : 0;
};

/** One axis of one channel in floating point, rounded to u8. */
function line(values: readonly number[], length: number, filter: ResampleFilter): number[] {
  if (values.length === length) return [...values];
  const [kernel, radius] = filter === 'bilinear' ? [triangle, 1] : [cubic, 2];
  const scale = values.length / length;
  const wide = Math.max(1, scale);
  return Array.from({ length }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const weights = values.map((_, j) =>
      Math.abs(j + 0.5 - centre) < radius * wide ? kernel((j + 0.5 - centre) / wide) : 0,
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    const mean = values.reduce((total, value, j) => total + value * (weights[j] ?? 0), 0) / sum;
    return Math.min(255, Math.max(0, Math.round(mean)));
  });
}

function bySums(
  rgb: Uint8Array,
  [width, height]: readonly [number, number],
  [outWidth, outHeight]: readonly [number, number],
  filter: ResampleFilter,
): number[] {
  const at = (x: number, y: number, c: number): number => rgb[(y * width + x) * 3 + c] ?? NaN;
  const planes = [0, 1, 2].map((c) => {
    const rows = Array.from({ length: height }, (_, y) =>
      line(
        Array.from({ length: width }, (__, x) => at(x, y, c)),
        outWidth,
        filter,
      ),
    );
    return Array.from({ length: outWidth }, (_, x) =>
      line(
        rows.map((row) => row[x] ?? NaN),
        outHeight,
        filter,
      ),
    );
  });
  return Array.from({ length: outWidth * outHeight * 3 }, (_, i) => {
    const [pixel, c] = [Math.floor(i / 3), i % 3];
    return planes[c]?.[pixel % outWidth]?.[Math.floor(pixel / outWidth)] ?? NaN;
  });
}

const size = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }));
const cases = fc
  .record({
    from: size,
    to: size,
    filter: fc.constantFrom('bilinear' as const, 'bicubic' as const),
  })
  .chain((one) => {
    const length = one.from[0] * one.from[1] * 3;
    return fc.uint8Array({ minLength: length, maxLength: length }).map((rgb) => ({ ...one, rgb }));
  });

describe('resample', () => {
  it('is the weighted means of both axes, whatever the sizes', () => {
    fc.assert(
      fc.property(cases, ({ rgb, from, to, filter }) => {
        const [width, height] = to;
        const got = resample(rgb, from[0], from[1], { width, height }, filter);
        const want = bySums(rgb, from, to, filter);
        // Where a mean lies at a half, fixed point may round the other way, in either pass. PIL's own pictures
        // are held to exactly (`preprocess.parity.test.ts`).
        const worst = Math.max(...want.map((value, i) => Math.abs(value - (got[i] ?? NaN))));
        expect(worst).toBeLessThanOrEqual(filter === 'bilinear' ? 2 : 3);
      }),
      { numRuns: 300 },
    );
  });

  it('writes its place of a larger picture and nothing else', () => {
    fc.assert(
      fc.property(cases, fc.nat(5), fc.nat(5), ({ rgb, from, to, filter }, left, top) => {
        const [width, height] = to;
        const [stride, rows] = [width + left + 2, height + top + 1];
        const pixels = new Uint8Array(stride * rows * 3).fill(77);
        resampleInto(
          { pixels, stride, left, top },
          rgb,
          from[0],
          from[1],
          { width, height },
          filter,
        );
        const alone = resample(rgb, from[0], from[1], { width, height }, filter);
        pixels.forEach((value, i) => {
          const [x, y] = [(Math.floor(i / 3) % stride) - left, Math.floor(i / 3 / stride) - top];
          const isInside = x >= 0 && x < width && y >= 0 && y < height;
          const want = isInside ? alone[(y * width + x) * 3 + (i % 3)] : 77;
          if (value !== want) throw new Error(`byte ${i} is ${value}, not ${String(want)}`);
        });
      }),
      { numRuns: 100 },
    );
  });

  // `npx vitest run policy/data/resample.test.ts -u` assembles the text anew.
  it('has the passes that its text says', async () => {
    const text = await assembledWat(new URL('resample.wat', import.meta.url), 'RESAMPLE_WASM');
    await expect(text).toMatchFileSnapshot('resample-wasm.ts');
  });
});
