import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A package of which the build holds a part. */
export interface IncludedPackage {
  readonly name: string;
  /** Its folder, absolute. */
  readonly dir: string;
}

/** The package that a file belongs to; `undefined` for a file of ours. */
export function packageOf(file: string): IncludedPackage | undefined {
  const found = /^(.*\/node_modules\/((?:@[^/]+\/)?[^/]+))\//.exec(file);
  if (found?.[1] === undefined || found[2] === undefined) return undefined;
  return { name: found[2], dir: found[1] };
}

/**
 * The licences of these packages, each once, in Markdown.
 * @throws Error for a package that comes without the text of its licence.
 */
export async function notices(included: readonly IncludedPackage[]): Promise<string> {
  const byFolder = new Map(included.map((one) => [one.dir, one]));
  const sorted = [...byFolder.values()].sort((a, b) => (a.dir < b.dir ? -1 : 1));
  const parts = await Promise.all(
    sorted.map(async ({ name, dir }) => `## ${name}\n\n${(await licence(name, dir)).trim()}\n`),
  );
  return `# What this package includes\n\n${parts.join('\n')}`;
}

async function licence(name: string, dir: string): Promise<string> {
  const file = (await readdir(dir)).find((entry) => /^licen[cs]e/i.test(entry));
  if (file === undefined) {
    throw new Error(`${name} has no licence file in ${dir}: it cannot be part of the package`);
  }
  return readFile(join(dir, file), 'utf8');
}
