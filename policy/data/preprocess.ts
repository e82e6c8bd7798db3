import { resampleInto } from './resample.ts';

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
  const canvas = { pixels: out, stride: target.width, left: fit.left, top: fit.top };
  resampleInto(canvas, rgb, width, height, fit, 'bilinear');
  return out;
}
