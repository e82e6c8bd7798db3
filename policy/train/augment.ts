import type { Random } from '../data/index.ts';

/** How pictures are changed at random, so that a policy does not know an episode by its looks. */
export interface Augmentation {
  /** Largest shift each way, pixels; the edge is repeated. */
  readonly shift: number;
  /** Largest relative change of contrast, and of brightness as a share of the whole range. */
  readonly light: number;
  /** Largest relative change of each colour channel. */
  readonly colour: number;
  /** Share of pictures with a rectangle hidden (DeVries & Taylor 2017), and its largest side. */
  readonly hidden: number;
  readonly hiddenSide: number;
}

/** A picture changed at random, written into `out` from `at`. u8 [h, w, 3]. */
export function augmentInto(
  out: Uint8Array,
  at: number,
  picture: Uint8Array,
  width: number,
  height: number,
  random: Random,
  options: Augmentation,
): void {
  const { shift, light, colour } = options;
  const dx = random.integer(2 * shift + 1) - shift;
  const dy = random.integer(2 * shift + 1) - shift;
  const between = (most: number): number => (random.uniform() * 2 - 1) * most;
  const contrast = 1 + between(light);
  const offset = between(light) * 255 + 128 * (1 - contrast);
  const tables = [0, 1, 2].map(() => {
    const gain = contrast * (1 + between(colour));
    return Uint8Array.from({ length: 256 }, (_, v) =>
      Math.max(0, Math.min(255, Math.round(v * gain + offset))),
    );
  }) as [Uint8Array, Uint8Array, Uint8Array];
  const [red, green, blue] = tables;
  let o = at;
  for (let y = 0; y < height; y++) {
    const row = Math.max(0, Math.min(height - 1, y + dy)) * width;
    for (let x = 0; x < width; x++) {
      const p = (row + Math.max(0, Math.min(width - 1, x + dx))) * 3;
      out[o++] = red[picture[p] as number] as number;
      out[o++] = green[picture[p + 1] as number] as number;
      out[o++] = blue[picture[p + 2] as number] as number;
    }
  }
  if (random.uniform() < options.hidden) hideRectangle(out, at, width, height, random, options);
}

/** Paints a rectangle of one random colour over the picture. */
function hideRectangle(
  out: Uint8Array,
  at: number,
  width: number,
  height: number,
  random: Random,
  { hiddenSide }: Augmentation,
): void {
  const side = (length: number): number =>
    1 + random.integer(Math.max(1, Math.round(length * hiddenSide)));
  const [w, h] = [side(width), side(height)];
  const [left, top] = [random.integer(width - w + 1), random.integer(height - h + 1)];
  const paint = [random.integer(256), random.integer(256), random.integer(256)];
  for (let y = top; y < top + h; y++) {
    for (let x = left; x < left + w; x++) out.set(paint, at + (y * width + x) * 3);
  }
}
