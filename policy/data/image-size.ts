import type { EmbodimentSpec } from '@armature/sdk/contract';
import type { ImageSize } from './preprocess.ts';

const LONG_SIDE = 64;
const CELL = 8;

/**
 * Size of every picture of an embodiment as the model sees it: the largest camera's, shrunk to at
 * most 64 pixels on its long side; both sides are multiples of 8.
 */
export function imageSize(spec: EmbodimentSpec): ImageSize {
  const largest = spec.cameras.reduce((a, b) => (b.width * b.height > a.width * a.height ? b : a));
  const ratio = Math.min(1, LONG_SIDE / Math.max(largest.width, largest.height));
  const side = (length: number): number =>
    Math.max(CELL, Math.round((length * ratio) / CELL) * CELL);
  return { width: side(largest.width), height: side(largest.height) };
}
