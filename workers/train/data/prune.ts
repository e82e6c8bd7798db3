import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Removes whole caches, the longest unused first, until those that remain take `maxBytes` at most.
 * Call it between jobs: a cache that a job reads must not go.
 *
 * @returns names of the folders removed.
 */
export async function pruneCaches(directory: string, maxBytes: number): Promise<string[]> {
  const caches = await measure(directory);
  caches.sort((a, b) => b.usedAt - a.usedAt);
  const removed: string[] = [];
  let kept = 0;
  for (const cache of caches) {
    if (kept + cache.bytes <= maxBytes) {
      kept += cache.bytes;
      continue;
    }
    await rm(join(directory, cache.name), { recursive: true, force: true });
    removed.push(cache.name);
  }
  return removed;
}

async function measure(
  directory: string,
): Promise<{ name: string; bytes: number; usedAt: number }[]> {
  const caches = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const folder = join(directory, entry.name);
    let bytes = 0;
    let usedAt = 0;
    for (const file of await readdir(folder)) {
      const info = await stat(join(folder, file));
      bytes += info.size;
      // Access times are coarse or off on many file systems; the later of both is the best there is.
      usedAt = Math.max(usedAt, info.atimeMs, info.mtimeMs);
    }
    caches.push({ name: entry.name, bytes, usedAt });
  }
  return caches;
}
