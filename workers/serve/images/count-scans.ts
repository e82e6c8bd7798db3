const MARKER = 0xff;
const [RST0, RST7, EOI, SOS] = [0xd0, 0xd7, 0xd9, 0xda];
/** Markers below are reserved: a decoder may pass over one without its segment. */
const FIRST_WITH_SEGMENT = 0xc0;

/**
 * Counts the scans of a JPEG file, at least as many as libjpeg would decode: each costs a pass over the
 * whole picture however few bytes it has. Marker segments are passed over by their length, so that a
 * thumbnail inside of one does not count.
 */
export function countScans(bytes: Uint8Array): number {
  let scans = 0;
  for (let at = bytes.indexOf(MARKER); at >= 0; at = bytes.indexOf(MARKER, at)) {
    const marker = bytes[at + 1];
    if (marker === undefined || marker === EOI) break;
    if (marker === MARKER) {
      at += 1;
      continue;
    }
    at += 2;
    if (marker < FIRST_WITH_SEGMENT || (marker >= RST0 && marker <= RST7) || marker === 0xd8)
      continue;
    if (marker === SOS) scans += 1;
    at += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  }
  return scans;
}
