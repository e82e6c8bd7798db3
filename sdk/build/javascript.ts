import { writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { join, resolve } from 'node:path';
import * as esbuild from 'esbuild';
import { packageOf, type IncludedPackage } from './notices.ts';

/** Left to the manifest's `imports`: Node's WebSocket client, which browsers have no use for. */
const NODE_SOCKETS = '#ws';

/** Native parts of ws, which it does without. */
const ABSENT = /^(bufferutil|utf-8-validate)$/;

/**
 * Bundles client, contract and command line, with what they use of their packages. Entries share
 * chunks, so that `ArmatureError` is one class whichever door it comes through, and browsers get what
 * Node gets.
 * @returns the packages that the bundle holds parts of.
 * @throws Error for warnings, and for an import that the package cannot resolve by itself.
 */
export async function writeJavaScript(sdk: string, out: string): Promise<IncludedPackage[]> {
  const { metafile, warnings } = await esbuild.build({
    absWorkingDir: sdk,
    entryPoints: {
      index: 'src/index.ts',
      browser: 'src/browser.ts',
      contract: 'contract/index.ts',
      cli: 'cli/main.ts',
      ws: 'build/ws.ts',
    },
    outdir: out,
    chunkNames: 'shared-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'es2022',
    // Functions and classes keep their names, for stack traces; lines stay short enough to be printed in one.
    minify: true,
    keepNames: true,
    lineLimit: 120,
    // `notices.ts` has them all.
    legalComments: 'none',
    plugins: [socketsWhereNeeded, builtinsByImport],
    metafile: true,
    logLevel: 'silent',
  });
  if (warnings.length > 0) throw new Error(warnings.map(({ text }) => text).join('\n'));
  const left = importsLeft(metafile);
  if (left.length > 0) throw new Error(`the package would have to install ${left.join(', ')}`);
  await writeFile(join(out, 'no-ws.js'), NO_SOCKETS);
  return Object.keys(metafile.inputs).flatMap((file) => packageOf(resolve(sdk, file)) ?? []);
}

const NO_SOCKETS = `export class WebSocket {
  constructor() {
    throw new Error('this bundle of @armature/sdk was made for browsers: bundle for Node, without the condition "browser"');
  }
}
`;

const socketsWhereNeeded: esbuild.Plugin = {
  name: 'sockets-where-needed',
  setup(build) {
    build.onResolve({ filter: /^ws$/ }, ({ kind }) =>
      kind === 'dynamic-import' ? { path: NODE_SOCKETS, external: true } : undefined,
    );
  },
};

/** CommonJS packages call `require`, which an ES module has not: Node's modules are imported for them. */
const builtinsByImport: esbuild.Plugin = {
  name: 'builtins-by-import',
  setup(build) {
    build.onResolve({ filter: /./ }, ({ kind, path }) =>
      kind === 'require-call' && isBuiltin(path) ? { path, namespace: 'builtin' } : undefined,
    );
    build.onLoad({ filter: /./, namespace: 'builtin' }, ({ path }) => ({
      contents: `import builtin from ${JSON.stringify(path)}; module.exports = builtin;`,
    }));
    build.onResolve({ filter: ABSENT }, ({ path }) => ({ path, namespace: 'absent' }));
    build.onLoad({ filter: /./, namespace: 'absent' }, ({ path }) => ({
      contents: `throw new Error(${JSON.stringify(`${path} is not part of this package`)});`,
    }));
  },
};

function importsLeft({ outputs }: esbuild.Metafile): string[] {
  const imports = Object.values(outputs).flatMap((output) => output.imports);
  const left = imports.filter(
    ({ external, path }) => external === true && path !== NODE_SOCKETS && !isBuiltin(path),
  );
  return [...new Set(left.map(({ path }) => path))].sort();
}
