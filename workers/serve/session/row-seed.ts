/** Seed of a chunk's noise, 32 bits: the same observation of the same session gives the same chunk (FNV-1a). */
export function rowSeed(chunkId: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < chunkId.length; i++) {
    hash = Math.imul(hash ^ chunkId.charCodeAt(i), 0x01000193);
  }
  return hash >>> 0;
}
