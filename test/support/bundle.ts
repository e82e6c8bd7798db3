import { readFile } from 'node:fs/promises';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import * as esbuild from 'esbuild';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const bundles = new Map<string, Promise<string>>();
let folder: string | undefined;

/**
 * One file of plain JavaScript from which a process starts as it does from its entry, in a fraction of the time that
 * tsx takes: packages are imported from where they lie, and each module keeps its own `import.meta.url`. Made once a
 * test file, and gone with its process.
 * @param entry relative to the repository, e.g. `api/main.ts`
 * @returns the file's path
 */
export function bundled(entry: string): Promise<string> {
  const made = bundles.get(entry) ?? bundle(entry);
  bundles.set(entry, made);
  return made;
}

async function bundle(entry: string): Promise<string> {
  if (folder === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'armature-bundle-'));
    process.once('exit', () => rmSync(made, { recursive: true, force: true }));
    folder = made;
  }
  const outfile = join(folder, `${bundles.size}-${basename(entry, '.ts')}.mjs`);
  await esbuild.build({
    absWorkingDir: ROOT,
    entryPoints: [entry],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'es2022',
    keepNames: true,
    plugins: [packagesWhereTheyLie, modulesWhereTheyLie],
    logLevel: 'silent',
  });
  return outfile;
}

/** Imports of packages other than the repository's own are left, as the files that they come to. */
const packagesWhereTheyLie: esbuild.Plugin = {
  name: 'packages-where-they-lie',
  setup(build) {
    build.onResolve({ filter: /^[^./]/ }, async (wanted) => {
      const { path, kind, resolveDir, importer, pluginData } = wanted;
      if (pluginData === RESOLVING || kind === 'entry-point') return undefined;
      const found = await build.resolve(path, {
        kind,
        resolveDir,
        importer,
        pluginData: RESOLVING,
      });
      if (found.errors.length > 0 || found.external || !found.path.includes('/node_modules/')) {
        return found;
      }
      return { path: pathToFileURL(found.path).href, external: true };
    });
  },
};
const RESOLVING = Symbol('resolving');

const modulesWhereTheyLie: esbuild.Plugin = {
  name: 'modules-where-they-lie',
  setup(build) {
    build.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      const url = JSON.stringify(pathToFileURL(path).href);
      return { contents: text.replaceAll('import.meta.url', url), loader: 'ts' };
    });
  },
};
