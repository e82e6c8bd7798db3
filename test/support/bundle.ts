import { readFile } from 'node:fs/promises';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
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
 * @param modules of packages: imported as packages are, or inside of the file, which takes longer to make and starts
 *   in half the time, for what starts many times
 * @returns the file's path
 */
export function bundled(entry: string, modules: 'beside' | 'inside' = 'beside'): Promise<string> {
  const key = `${modules} ${entry}`;
  const made = bundles.get(key) ?? bundle(entry, modules === 'inside');
  bundles.set(key, made);
  return made;
}

async function bundle(entry: string, hasModules: boolean): Promise<string> {
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
    plugins: [packagesWhereTheyLie(hasModules), modulesWhereTheyLie],
    logLevel: 'silent',
  });
  return outfile;
}

/**
 * Imports of packages other than the repository's own are left, as the files that they come to, but for ECMAScript
 * modules where these are to be inside; CommonJS goes by the folder that it lies in.
 */
const packagesWhereTheyLie = (hasModules: boolean): esbuild.Plugin => ({
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
      if (hasModules && isModule(found.path)) {
        return { path: found.path, sideEffects: found.sideEffects };
      }
      return { path: pathToFileURL(found.path).href, external: true };
    });
  },
});
const RESOLVING = Symbol('resolving');

const modulesWhereTheyLie: esbuild.Plugin = {
  name: 'modules-where-they-lie',
  setup(build) {
    build.onLoad({ filter: /\.(?:ts|m?js)$/ }, async ({ path }) => {
      const isSource = path.endsWith('.ts');
      if (!isSource && !isModule(path)) return undefined;
      const text = await readFile(path, 'utf8');
      const url = JSON.stringify(pathToFileURL(path).href);
      return { contents: text.replaceAll('import.meta.url', url), loader: isSource ? 'ts' : 'js' };
    });
  },
};

/** Whether Node takes a JavaScript file for an ECMAScript module. */
function isModule(path: string): boolean {
  return path.endsWith('.mjs') || (path.endsWith('.js') && isOfModules(dirname(path)));
}

const ofModules = new Map<string, boolean>();
function isOfModules(at: string): boolean {
  const known = ofModules.get(at);
  if (known !== undefined) return known;
  const manifest = join(at, 'package.json');
  const is = existsSync(manifest)
    ? (JSON.parse(readFileSync(manifest, 'utf8')) as { type?: string }).type === 'module'
    : at !== dirname(at) && isOfModules(dirname(at));
  ofModules.set(at, is);
  return is;
}
