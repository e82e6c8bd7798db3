import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where the reference outputs lie: the folder named by ARMATURE_FIXTURES, else test/fixtures. */
const fixturesRoot = resolve(
  process.env['ARMATURE_FIXTURES'] ?? fileURLToPath(new URL('../fixtures', import.meta.url)),
);

/** Absolute path of a reference file or folder. */
export function fixturePath(...parts: readonly string[]): string {
  return resolve(fixturesRoot, ...parts);
}

/** Bytes of a reference file. */
export async function readFixture(...parts: readonly string[]): Promise<Uint8Array> {
  return new Uint8Array(await readFile(fixturePath(...parts)));
}

/** A reference file's JSON; the caller says, and checks where it matters, what is in it. */
export async function readFixtureJson(...parts: readonly string[]): Promise<unknown> {
  const parsed: unknown = JSON.parse(await readFile(fixturePath(...parts), 'utf8'));
  return parsed;
}
