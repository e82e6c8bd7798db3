import { createHash } from 'node:crypto';

/** A file of a data set as it was announced and verified. */
export interface SetFile {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/**
 * What names the content of a data set, wherever it lies: sha256, in hexadecimal, over a line
 * `path size sha256` for each file in byte order of the paths, and one of the episodes left out.
 */
export function dataDigest(files: readonly SetFile[], without: readonly number[]): string {
  const hash = createHash('sha256');
  const sorted = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
  for (const { path, size, sha256 } of sorted) hash.update(`${path} ${size} ${sha256}\n`);
  hash.update(`without ${[...without].sort((a, b) => a - b).join(',')}\n`);
  return hash.digest('hex');
}
