import { levels, type PixelScale } from './pixel-scale.ts';
import { ImageError, type ImageSize } from './preprocess.ts';

/** How Qwen2-VL cuts a picture. */
export interface PatchLayout {
  /** Pixels along a patch's side. */
  readonly patch: number;
  /** Patches along the side of a merged one. */
  readonly merge: number;
  /** Frames that a patch spans; a still picture is repeated. */
  readonly frames: number;
}

/** Longest side over shortest that is accepted. */
const LARGEST_RATIO = 200;

/**
 * The size that Qwen2-VL looks at: multiples of `factor` (patch·merge), as many pixels as lie between
 * the limits, the aspect kept as far as that goes.
 * @throws ImageError for a picture more than 200 times as long as wide.
 */
export function smartResize(
  size: ImageSize,
  factor: number,
  pixels: { readonly least: number; readonly most: number },
): ImageSize {
  const { width, height } = size;
  if (Math.max(width, height) / Math.min(width, height) > LARGEST_RATIO) {
    throw new ImageError(
      `a picture of ${width}×${height} is longer than ${LARGEST_RATIO} times its width`,
    );
  }
  const each = (f: (side: number) => number): ImageSize => ({ width: f(width), height: f(height) });
  const nearest = each((side) => halfToEven(side / factor) * factor);
  const area = nearest.width * nearest.height;
  if (area > pixels.most) {
    const shrink = Math.sqrt((height * width) / pixels.most);
    return each((side) => Math.max(factor, Math.floor(side / shrink / factor) * factor));
  }
  if (area < pixels.least) {
    const grow = Math.sqrt(pixels.least / (height * width));
    return each((side) => Math.ceil((side * grow) / factor) * factor);
  }
  return nearest;
}

/** Python's round. */
function halfToEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/**
 * A resized picture as rows of patches, those of one merged patch after each other.
 * @param rgb u8 [height, width, 3], both multiples of patch·merge
 * @returns f32 [patches, 3·frames·patch²]: channel, frame, y, x
 */
export function qwenPatches(
  rgb: Uint8Array,
  size: ImageSize,
  layout: PatchLayout,
  scale: PixelScale,
): Float32Array {
  const { patch, merge, frames } = layout;
  const block = patch * merge;
  if (size.width % block !== 0 || size.height % block !== 0) {
    throw new ImageError(`${size.width}×${size.height} is no multiple of ${block} pixels`);
  }
  const tables = ([0, 1, 2] as const).map((channel) => levels(scale, channel));
  const out = new Float32Array(rgb.length * frames);
  let at = 0;
  for (let by = 0; by < size.height; by += block) {
    for (let bx = 0; bx < size.width; bx += block) {
      for (let cell = 0; cell < merge ** 2; cell += 1) {
        const top = by + Math.floor(cell / merge) * patch;
        const left = bx + (cell % merge) * patch;
        tables.forEach((table, channel) => {
          for (let frame = 0; frame < frames; frame += 1) {
            for (let y = top; y < top + patch; y += 1) {
              for (let x = left; x < left + patch; x += 1) {
                const level = rgb[(y * size.width + x) * 3 + channel] as number;
                out[at] = table[level] as number;
                at += 1;
              }
            }
          }
        });
      }
    }
  }
  return out;
}
