import { z } from 'zod';
import type { StillPicture } from '../dataset.ts';
import { declaredSize } from '../video/picture-size.ts';

const bytes = z.union([
  z.instanceof(Uint8Array),
  z.base64().transform((text): Uint8Array => Buffer.from(text, 'base64')),
]);
/** sensor_msgs/CompressedImage, foxglove.CompressedImage */
const compressedSchema = z.object({ format: z.string(), data: bytes });
/** sensor_msgs/Image, foxglove.RawImage */
const rawSchema = z.object({
  encoding: z.string(),
  width: z.number().int().positive(),
  height: z.number().int().positive(),
  step: z.number().int().positive(),
  data: bytes,
});

/**
 * A message as a picture: compressed as JPEG or PNG, or raw in rgb8 or bgr8.
 * @throws Error that says what it is instead.
 */
export function pictureOf(value: unknown): Omit<StillPicture, 'seconds'> {
  const raw = rawSchema.safeParse(value);
  if (raw.success) return rawPicture(raw.data);
  const compressed = compressedSchema.safeParse(value);
  if (!compressed.success) throw new Error('it is no Image and no CompressedImage');
  const { format, data } = compressed.data;
  const encoding = /png/i.test(format) ? 'png' : 'jpeg';
  const size = declaredSize(encoding, data);
  if (size === null) throw new Error(`its format is ${format}; JPEG and PNG are read`);
  return { encoding, ...size, bytes: data };
}

/** Rows may be padded to `step` bytes. */
function rawPicture(image: z.infer<typeof rawSchema>): Omit<StillPicture, 'seconds'> {
  const { encoding, width, height, step, data } = image;
  if (encoding !== 'rgb8' && encoding !== 'bgr8') {
    throw new Error(`its encoding is ${encoding}; rgb8 and bgr8 are read`);
  }
  const row = width * 3;
  if (step < row || data.length < step * (height - 1) + row) {
    throw new Error(`it has ${data.length} bytes for ${width}×${height} pixels`);
  }
  if (step === row) return { encoding, width, height, bytes: data.subarray(0, row * height) };
  const packed = new Uint8Array(row * height);
  for (let y = 0; y < height; y += 1) {
    packed.set(data.subarray(y * step, y * step + row), y * row);
  }
  return { encoding, width, height, bytes: packed };
}
