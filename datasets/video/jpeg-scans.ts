import { damaged } from './damaged.ts';

/**
 * Most scans of a JPEG: encoders write ten or so. A progressive one may have any number, each of some fifty bytes
 * that cost its decoder a pass over the whole picture.
 */
const MAX_SCANS = 64;
const START_OF_SCAN = Buffer.of(0xff, 0xda);

/**
 * Counts every pair of bytes that a decoder may take for the start of a scan, wherever it stands: a decoder that looks
 * for markers in other places than a walk over the segments does not find more.
 * @throws ArmatureError `invalid_dataset`
 */
export function assertScans(name: string, jpeg: Uint8Array): void {
  const bytes = Buffer.from(jpeg.buffer, jpeg.byteOffset, jpeg.length);
  let scans = 0;
  for (
    let at = bytes.indexOf(START_OF_SCAN);
    at !== -1;
    at = bytes.indexOf(START_OF_SCAN, at + 2)
  ) {
    scans += 1;
    if (scans > MAX_SCANS) throw damaged(name, `has more than ${MAX_SCANS} scans`);
  }
}
