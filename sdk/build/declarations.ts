import { join, resolve } from 'node:path';
import { rollup } from 'rollup';
import { dts } from 'rollup-plugin-dts';
import { packageOf, type IncludedPackage } from './notices.ts';

/**
 * Bundles the declarations of client and contract with those of zod, which the contract's schemas are
 * made of. Doors share files, so that a class is the same type through each.
 * @returns the packages whose declarations are included.
 * @throws Error for warnings, and for an import that the package cannot resolve by itself.
 */
export async function writeDeclarations(sdk: string, out: string): Promise<IncludedPackage[]> {
  const bundle = await rollup({
    input: {
      index: join(sdk, 'src/index.ts'),
      browser: join(sdk, 'src/browser.ts'),
      contract: join(sdk, 'contract/index.ts'),
    },
    plugins: [
      dts({ tsconfig: resolve(sdk, '../tsconfig.json'), includeExternal: ['zod'] }),
      { name: 'tabs', renderChunk: (code) => code.replaceAll(/^(?: {4})+/gm, tabs) },
    ],
    onLog: (_, { message }) => {
      throw new Error(message);
    },
  });
  try {
    const { output } = await bundle.write({
      dir: out,
      format: 'es',
      entryFileNames: '[name].d.ts',
      chunkFileNames: 'shared-[hash].d.ts',
    });
    const files = new Set(output.map(({ fileName }) => fileName));
    const left = output.flatMap((part) =>
      part.type === 'chunk' ? part.imports.filter((name) => !files.has(name)) : [],
    );
    if (left.length > 0)
      throw new Error(`the declarations would have to import ${left.join(', ')}`);
    return bundle.watchFiles.flatMap((file) => packageOf(file) ?? []);
  } finally {
    await bundle.close();
  }
}

/** Schemas nest deeply: of their declarations a fifth is indentation by four spaces. */
function tabs(indentation: string): string {
  return '\t'.repeat(indentation.length / 4);
}
