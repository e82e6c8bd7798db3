import { ArmatureError } from '@armature/sdk/contract';

/** Longest side of a picture in pixels: no camera of an embodiment has more. */
const MAX_SIDE = 4096;

interface Size {
  readonly width: number;
  readonly height: number;
}

/** @throws ArmatureError `invalid_dataset` for a picture that no camera takes. */
export function assertPictureSize(name: string, { width, height }: Size): void {
  if (width >= 1 && height >= 1 && width <= MAX_SIDE && height <= MAX_SIDE) return;
  throw new ArmatureError(
    'invalid_dataset',
    `${name} has ${width}×${height} pixels, not 1 to ${MAX_SIDE} on a side`,
    { field: name, fix: `Record pictures of at most ${MAX_SIDE}×${MAX_SIDE} pixels.` },
  );
}

/** Width and height as the file's header declares them; `null` when it is no such file. */
export function declaredSize(encoding: 'jpeg' | 'png', bytes: Uint8Array): Size | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return encoding === 'png' ? pngSize(view) : jpegSize(view);
}

const PNG_SIGNATURE = 0x89504e470d0a1a0an;
const IHDR = 0x49484452;

function pngSize(view: DataView): Size | null {
  if (view.byteLength < 24) return null;
  if (view.getBigUint64(0) !== PNG_SIGNATURE || view.getUint32(12) !== IHDR) return null;
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

/** Walks the segments up to the frame header (SOF0 to SOF15 without DHT, JPG and DAC). */
function jpegSize(view: DataView): Size | null {
  if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) return null;
  let at = 2;
  while (at + 9 <= view.byteLength) {
    if (view.getUint8(at) !== 0xff) return null;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    at += 2 + view.getUint16(at + 2);
  }
  return null;
}
