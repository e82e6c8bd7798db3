import { decompress } from 'fzstd';

const MAGIC = 0xfd2fb528;
const RAW = 0;
const RLE = 1;

/**
 * Decompresses one Zstandard frame into exactly `size` bytes. No more than `size` is ever set aside:
 * blocks that repeat one byte make a frame of a kilobyte into one of gigabytes, so what the frame
 * declares (RFC 8878, 3.1.1) is added up before it is decompressed.
 * @throws RangeError when the frame holds another number of bytes, Error when it is damaged.
 */
export function zstdExactly(input: Uint8Array, size: number): Uint8Array {
  const frame = measure(input);
  const declared = frame.declared ?? frame.atLeast;
  if (declared > size || (frame.declared !== null && declared !== size)) {
    throw new RangeError(`it has ${declared} bytes in a Zstandard frame that is to have ${size}`);
  }
  return decompress(input, new Uint8Array(size));
}

/** What a frame's headers say: its content size where it is declared, and what its plain blocks come to. */
function measure(input: Uint8Array): { declared: number | null; atLeast: number } {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  if (view.getUint32(0, true) !== MAGIC) throw new RangeError('it has a page that is no Zstandard');
  const flags = view.getUint8(4);
  const isSingle = (flags & 0x20) !== 0;
  const sizeFlag = flags >> 6;
  const dictionaryBytes = [0, 1, 2, 4][flags & 3] ?? 0;
  let at = 5 + (isSingle ? 0 : 1) + dictionaryBytes;
  const sizeBytes = sizeFlag === 0 ? (isSingle ? 1 : 0) : 1 << sizeFlag;
  const declared = contentSize(view, at, sizeBytes);
  at += sizeBytes;
  let atLeast = 0;
  for (let isLast = false; !isLast;) {
    const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    const bytes = header >> 3;
    const kind = (header >> 1) & 3;
    isLast = (header & 1) === 1;
    if (kind === RAW || kind === RLE) atLeast += bytes;
    at += 3 + (kind === RLE ? 1 : bytes);
  }
  const checksumBytes = (flags & 4) === 0 ? 0 : 4;
  if (at + checksumBytes !== view.byteLength) {
    throw new RangeError('it has a page of more or less than one Zstandard frame');
  }
  return { declared, atLeast };
}

function contentSize(view: DataView, at: number, bytes: number): number | null {
  if (bytes === 0) return null;
  if (bytes === 1) return view.getUint8(at);
  // Two bytes count from 256, below which one byte is enough.
  if (bytes === 2) return view.getUint16(at, true) + 256;
  if (bytes === 4) return view.getUint32(at, true);
  return Number(view.getBigUint64(at, true));
}
