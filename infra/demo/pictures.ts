import sharp from 'sharp';
import type { Picture } from './report/data.ts';

interface Raw {
  readonly pixels: Uint8Array;
  readonly width: number;
  readonly height: number;
}

function open({ pixels, width, height }: Raw): ReturnType<typeof sharp> {
  return sharp(pixels, { raw: { width, height, channels: 3 } });
}

/** JPEG as a robot's camera would send it. */
export async function jpeg(raw: Raw, quality = 90): Promise<Uint8Array> {
  return open(raw).jpeg({ quality }).toBuffer();
}

/** A picture of the simulator for the report, lossless. */
export async function png(raw: Raw): Promise<Picture> {
  return { type: 'image/png', bytes: await open(raw).png({ compressionLevel: 9 }).toBuffer() };
}

/** A camera's picture for the report, at most `width` pixels wide. */
export async function thumbnail(bytes: Uint8Array, width: number): Promise<Picture> {
  const small = sharp(bytes).resize({ width, withoutEnlargement: true });
  return { type: 'image/jpeg', bytes: await small.jpeg({ quality: 80 }).toBuffer() };
}
