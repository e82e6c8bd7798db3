import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CodeVersion } from '@armature/sdk/contract';
import { z } from 'zod';

/** The room that trains: its graphs, its optimiser, its pre-processing. */
const POLICY = new URL('../../policy/', import.meta.url);
const packageSchema = z.object({ version: z.string() });

/**
 * What a worker that runs from these files trains with.
 * @param build the operator's name for it; null takes the sha256 of the policy's sources, tests apart.
 */
export async function codeVersion(build: string | null): Promise<CodeVersion> {
  const text = await readFile(new URL('package.json', POLICY), 'utf8');
  const { version } = packageSchema.parse(JSON.parse(text));
  return { version, build: build ?? `sources-${await sourcesDigest(fileURLToPath(POLICY))}` };
}

async function sourcesDigest(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile() && /\.m?ts$|\.mjs$/.test(entry.name))
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length))
    .filter((path) => !path.includes('node_modules/') && !/\.test\.ts$/.test(path))
    .sort();
  const hash = createHash('sha256');
  for (const path of paths) {
    const bytes = await readFile(join(folder, path));
    hash.update(`${path} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest('hex');
}
