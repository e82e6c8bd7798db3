import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ImageError, PREPROCESS_HASH, fitInside, preprocessImage } from './preprocess.ts';

describe('pre-processing', () => {
  it('names the bytes that a picture lacks', () => {
    expect(() => preprocessImage(new Uint8Array(10), 2, 2, { width: 4, height: 4 })).toThrow(
      ImageError,
    );
  });

  it('keeps the aspect and centres', () => {
    expect(fitInside(640, 480, { width: 96, height: 96 })).toEqual({
      width: 96,
      height: 72,
      left: 0,
      top: 12,
    });
  });

  // Versions carry the label and are served by what it names: where these pixels change, the label
  // has to change with them, and earlier versions are refused.
  it('makes the pixels that its label stands for', () => {
    const sizes = [
      [640, 480, 96, 96],
      [480, 640, 64, 64],
      [1280, 720, 128, 96],
      [37, 101, 224, 224],
      [33, 20, 16, 48],
      [300, 1, 64, 64],
      [64, 64, 64, 64],
    ] as const;
    const hash = createHash('sha256');
    for (const [width, height, wide, high] of sizes) {
      hash.update(
        preprocessImage(patterned(width, height), width, height, { width: wide, height: high }),
      );
    }
    expect({ [PREPROCESS_HASH]: hash.digest('hex') }).toEqual({
      'resize-with-pad/bilinear-antialias/u8/1':
        '3bf016ceceb1ec9318295322c39cb3f51add2e7d7e272a0aa1db284bbe5b0c83',
    });
  });
});

/** Fine noise over slopes and a hard edge, in whole numbers alone. */
function patterned(width: number, height: number): Uint8Array {
  let state = width * 65_537 + height;
  return Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / (3 * width))];
    state = (state * 48_271) % (2 ** 31 - 1);
    const noise = Math.floor(state / 2 ** 16) % 64;
    const edge = 2 * x > width && 3 * y > height ? 96 : 0;
    return (
      (noise + edge + Math.floor((96 * x) / width) + (i % 3) * Math.floor((32 * y) / height)) % 256
    );
  });
}
