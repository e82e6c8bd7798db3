/** How a vision encoder wants colours: (u8/255 − mean)/deviation, by channel. */
export interface PixelScale {
  readonly mean: readonly [number, number, number];
  readonly deviation: readonly [number, number, number];
}

/** [-1, 1]. */
export const SIGLIP_SCALE: PixelScale = { mean: [0.5, 0.5, 0.5], deviation: [0.5, 0.5, 0.5] };

/** CLIP's means and deviations, which Qwen2-VL keeps. */
export const QWEN2_VL_SCALE: PixelScale = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  deviation: [0.26862954, 0.26130258, 0.27577711],
};

/** One channel's value for every grey level. */
export function levels(scale: PixelScale, channel: 0 | 1 | 2): Float32Array {
  const { mean, deviation } = scale;
  return Float32Array.from(
    { length: 256 },
    (_, level) => (level / 255 - mean[channel]) / deviation[channel],
  );
}

/** RGB u8 [height, width, 3] → f32 [3, height, width]. */
export function scaledPlanes(rgb: Uint8Array, scale: PixelScale): Float32Array {
  const pixels = rgb.length / 3;
  const out = new Float32Array(rgb.length);
  for (const channel of [0, 1, 2] as const) {
    const table = levels(scale, channel);
    for (let i = 0; i < pixels; i += 1) {
      out[channel * pixels + i] = table[rgb[3 * i + channel] as number] as number;
    }
  }
  return out;
}
