import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe } from 'vitest';

const root = fileURLToPath(new URL('../../../shared/data', import.meta.url));

/** Folder of a real recording set beside the repository, e.g. `g1-bottle-heldout`. */
export function recordingPath(name: string): string {
  return resolve(root, name);
}

/**
 * A suite over real recordings in `../shared/data`: skipped with one line where they are absent,
 * failing there when ARMATURE_REQUIRE_SHARED is 1.
 */
export function describeWithRecording(name: string, suite: (directory: string) => void): void {
  const directory = recordingPath(name);
  if (existsSync(directory) || process.env['ARMATURE_REQUIRE_SHARED'] === '1') {
    describe(`on ${name}`, () => suite(directory));
  } else {
    describe.skip(`on ${name}: ../shared/data/${name} is absent`, () => suite(directory));
  }
}
