import type { Random } from '../data/index.ts';

/**
 * A picture moved by up to `shift` pixels each way (its edge repeated) with brightness and contrast
 * changed by up to `light`, written into `out`. u8 [h, w, 3].
 */
export function augmentInto(
  out: Uint8Array,
  at: number,
  picture: Uint8Array,
  width: number,
  height: number,
  random: Random,
  options: { shift: number; light: number },
): void {
  const { shift, light } = options;
  const dx = random.integer(2 * shift + 1) - shift;
  const dy = random.integer(2 * shift + 1) - shift;
  const gain = 1 + (random.uniform() * 2 - 1) * light;
  const offset = (random.uniform() * 2 - 1) * light * 255 + 128 * (1 - gain);
  const table = Uint8Array.from({ length: 256 }, (_, v) =>
    Math.max(0, Math.min(255, Math.round(v * gain + offset))),
  );
  let o = at;
  for (let y = 0; y < height; y++) {
    const row = Math.max(0, Math.min(height - 1, y + dy)) * width;
    for (let x = 0; x < width; x++) {
      const p = (row + Math.max(0, Math.min(width - 1, x + dx))) * 3;
      out[o++] = table[picture[p] as number] as number;
      out[o++] = table[picture[p + 1] as number] as number;
      out[o++] = table[picture[p + 2] as number] as number;
    }
  }
}
