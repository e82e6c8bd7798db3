import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import libjpegTurbo from '@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs';
import { countScans } from './count-scans.ts';
import type { Size } from './protocol.ts';

/** Most scans of a picture; baseline has one, what cameras and libraries make progressive about ten. */
const MAX_SCANS = 64;

/** A picture that cannot be used; the message completes "images.front …". */
export class PictureError extends Error {
  override readonly name = 'PictureError';
  readonly fix: string;

  constructor(message: string, fix: string) {
    super(message);
    this.fix = fix;
  }
}

const wasm = createRequire(import.meta.url).resolve(
  '@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasm',
);
const { JPEGDecoder } = await libjpegTurbo({ wasmBinary: await readFile(wasm) });
const decoder = new JPEGDecoder();

/**
 * Decodes a JPEG of exactly this size, grey or colour, to RGB u8 [height, width, 3], by libjpeg-turbo
 * inside WebAssembly: in the calling thread, since a 224-pixel picture takes less than the way to another.
 * @throws PictureError for another size, too many scans, a damaged or truncated file, or no JPEG at all.
 */
export function decodeJpeg(bytes: Uint8Array, size: Size): Uint8Array {
  const scans = countScans(bytes);
  if (scans > MAX_SCANS) {
    throw new PictureError(
      `has ${scans} scans, at most ${MAX_SCANS} are decoded`,
      'Send baseline JPEG, or progressive as common encoders make it.',
    );
  }
  orRefuse(() => {
    decoder.getEncodedBuffer(bytes.length).set(bytes);
    decoder.readHeader();
  });
  const info = decoder.getFrameInfo();
  // Before it is decoded, so that no file makes more pixels than were agreed.
  if (info.width !== size.width || info.height !== size.height) throw wrongSize(info, size);
  orRefuse(() => decoder.decode());
  const { buffer, byteOffset, length } = decoder.getDecodedBuffer();
  const picture = new Uint8Array(buffer, byteOffset, length);
  return info.componentCount === 1 ? threefold(picture) : picture;
}

/** The decoder throws numbers, which say nothing of a file but that it is damaged. */
function orRefuse(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (typeof error !== 'number') throw error;
    throw new PictureError('cannot be decoded as JPEG', 'Send whole, undamaged JPEG files.');
  }
}

/** Grey u8 [height, width] as RGB. */
function threefold(grey: Uint8Array): Uint8Array {
  const rgb = new Uint8Array(3 * grey.length);
  grey.forEach((value, i) => rgb.fill(value, 3 * i, 3 * i + 3));
  return rgb;
}

function wrongSize(found: Size, wanted: Size): PictureError {
  return new PictureError(
    `is ${found.width}×${found.height}, expected ${wanted.width}×${wanted.height}`,
    'Resize the picture to the size in the embodiment spec.',
  );
}
