import sharp from 'sharp';
import type { Size } from './protocol.ts';

// Whatever arrives is a JPEG or refused; libvips knows many formats that no robot may reach.
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({ operation: ['VipsForeignLoadJpegBuffer'] });
// One picture is one task of one thread; pictures run side by side, not their rows.
sharp.concurrency(1);
sharp.cache(false);

/** A picture that cannot be used; the message completes "images.front …". */
export class PictureError extends Error {
  override readonly name = 'PictureError';
  readonly fix: string;

  constructor(message: string, fix: string) {
    super(message);
    this.fix = fix;
  }
}

/**
 * Decodes a JPEG of exactly this size, grey or colour, to RGB u8 [height, width, 3].
 * @throws PictureError for another size, a damaged or truncated file, or no JPEG at all.
 */
export async function decodeJpeg(bytes: Uint8Array, size: Size): Promise<Uint8Array> {
  const pixels = size.width * size.height;
  try {
    const { data, info } = await sharp(bytes, { limitInputPixels: pixels, failOn: 'error' })
      .toColourspace('srgb')
      .raw()
      .toBuffer({ resolveWithObject: true });
    if (info.width !== size.width || info.height !== size.height) throw wrongSize(info, size);
    if (data.length !== pixels * 3) {
      throw new PictureError(`has ${info.channels} channels`, 'Send a grey or colour JPEG.');
    }
    return data;
  } catch (error) {
    if (error instanceof PictureError) throw error;
    throw await explain(bytes, size, error);
  }
}

async function explain(bytes: Uint8Array, size: Size, cause: unknown): Promise<PictureError> {
  const header = await sizeOf(bytes).catch(() => undefined);
  if (header !== undefined && (header.width !== size.width || header.height !== size.height)) {
    return wrongSize(header, size);
  }
  const detail = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
  return new PictureError(
    `cannot be decoded as JPEG (${detail ?? 'no reason given'})`,
    'Send whole, undamaged JPEG files.',
  );
}

async function sizeOf(bytes: Uint8Array): Promise<Size> {
  return sharp(bytes).metadata();
}

function wrongSize(found: Size, wanted: Size): PictureError {
  return new PictureError(
    `is ${found.width}×${found.height}, expected ${wanted.width}×${wanted.height}`,
    'Resize the picture to the size in the embodiment spec.',
  );
}
