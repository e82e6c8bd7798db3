import type { Random } from '../data/index.ts';

/** Strengths of the random changes of a picture; 0 leaves out what it names. */
export interface Augmentation {
  /** Shift of the picture each way, pixels; its edge is repeated. */
  readonly shift: number;
  /** Change of brightness and contrast, alike on all channels: of 1, as shares. */
  readonly light: number;
  /** Share of a side that a crop takes away at most; what is left is stretched to the whole picture. */
  readonly crop: number;
  /** Change of saturation, as a share of 1, and of hue, as a share of a quarter turn. */
  readonly colour: number;
}

/**
 * A picture with random changes, written into `out`. u8 [h, w, 3]. What has strength 0 draws no number
 * of `random`, but for shift and light.
 */
export function augmentInto(
  out: Uint8Array,
  at: number,
  picture: Uint8Array,
  width: number,
  height: number,
  random: Random,
  { shift, light, crop, colour }: Augmentation,
): void {
  const dx = random.integer(2 * shift + 1) - shift;
  const dy = random.integer(2 * shift + 1) - shift;
  const gain = 1 + (random.uniform() * 2 - 1) * light;
  const offset = (random.uniform() * 2 - 1) * light * 255 + 128 * (1 - gain);
  const window = crop === 0 ? undefined : drawWindow(crop, width, height, random);
  const mixing = colour === 0 ? undefined : drawMixing(colour, random);
  const table = Uint8Array.from({ length: 256 }, (_, v) => toByte(v * gain + offset));
  const source = window === undefined ? picture : stretched(picture, width, height, window);
  let o = at;
  for (let y = 0; y < height; y++) {
    const row = Math.max(0, Math.min(height - 1, y + dy)) * width;
    for (let x = 0; x < width; x++) {
      const p = (row + Math.max(0, Math.min(width - 1, x + dx))) * 3;
      const [r, g, b] = [source[p] as number, source[p + 1] as number, source[p + 2] as number];
      if (mixing === undefined) {
        out[o++] = table[r] as number;
        out[o++] = table[g] as number;
        out[o++] = table[b] as number;
        continue;
      }
      for (const [ofR, ofG, ofB] of mixing) {
        out[o++] = toByte((ofR * r + ofG * g + ofB * b) * gain + offset);
      }
    }
  }
}

function toByte(value: number): number {
  return Math.max(0, Math.min(255, Math.round(value)));
}

/** A part of a picture in pixels, which may begin and end between two. */
interface Window {
  readonly left: number;
  readonly top: number;
  /** Width and height as shares of the picture's. */
  readonly share: number;
}

function drawWindow(crop: number, width: number, height: number, random: Random): Window {
  const share = 1 - random.uniform() * crop;
  return {
    share,
    left: random.uniform() * width * (1 - share),
    top: random.uniform() * height * (1 - share),
  };
}

/** The window stretched to the picture's size, between pixels by their bilinear mean. */
function stretched(picture: Uint8Array, width: number, height: number, window: Window): Uint8Array {
  const across = taps(window.left, window.share, width);
  const down = taps(window.top, window.share, height);
  const out = new Uint8Array(picture.length);
  let o = 0;
  for (const [y0, y1, v] of down) {
    for (const [x0, x1, u] of across) {
      const [a, b] = [(y0 * width + x0) * 3, (y0 * width + x1) * 3];
      const [c, d] = [(y1 * width + x0) * 3, (y1 * width + x1) * 3];
      for (let k = 0; k < 3; k++) {
        const above = (picture[a + k] as number) * (1 - u) + (picture[b + k] as number) * u;
        const below = (picture[c + k] as number) * (1 - u) + (picture[d + k] as number) * u;
        out[o++] = Math.round(above * (1 - v) + below * v);
      }
    }
  }
  return out;
}

/** For each pixel of a side the two that it lies between, and how near it is to the second. */
function taps(from: number, share: number, size: number): (readonly [number, number, number])[] {
  return Array.from({ length: size }, (_, i) => {
    const place = Math.max(0, Math.min(size - 1, from + (i + 0.5) * share - 0.5));
    const first = Math.floor(place);
    return [first, Math.min(size - 1, first + 1), place - first] as const;
  });
}

type Row = readonly [number, number, number];

/** Red, green and blue to luma and the two axes of colour (NTSC's YIQ), and back. */
const LUMA: Row = [0.299, 0.587, 0.114];
const IN_PHASE: Row = [0.5959, -0.2746, -0.3213];
const QUADRATURE: Row = [0.2115, -0.5227, 0.3112];
const BACK: readonly (readonly [number, number])[] = [
  [0.956, 0.619],
  [-0.272, -0.647],
  [-1.106, 1.703],
];

/** A turn and a stretch of the plane of colour, as a matrix over red, green and blue; luma stays. */
function drawMixing(colour: number, random: Random): readonly Row[] {
  const saturation = 1 + (random.uniform() * 2 - 1) * colour;
  const angle = ((random.uniform() * 2 - 1) * colour * Math.PI) / 2;
  const [cos, sin] = [saturation * Math.cos(angle), saturation * Math.sin(angle)];
  return BACK.map(([i, q]) => {
    const of = (k: 0 | 1 | 2): number =>
      LUMA[k] + (i * cos + q * sin) * IN_PHASE[k] + (q * cos - i * sin) * QUADRATURE[k];
    return [of(0), of(1), of(2)];
  });
}
