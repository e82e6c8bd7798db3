import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const MOST_BYTES = 1_000_000;

describe('the browser bundle', () => {
  it('is made without Node’s modules, and is small', async () => {
    const { outputFiles, warnings, metafile } = await build({
      entryPoints: [fileURLToPath(new URL('./browser.ts', import.meta.url))],
      bundle: true,
      minify: true,
      format: 'esm',
      platform: 'browser',
      write: false,
      metafile: true,
      logLevel: 'silent',
    });
    expect(warnings).toEqual([]);
    const [bundle] = outputFiles;
    if (bundle === undefined) throw new Error('nothing was built');
    expect(bundle.contents.byteLength).toBeLessThan(MOST_BYTES);
    expect(bundle.text).not.toMatch(/from"node:|require\("(?:fs|net|http|crypto|zlib)"\)/);
    const packages = new Set(
      Object.keys(metafile.inputs).flatMap(
        (file) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? [],
      ),
    );
    expect([...packages].sort()).toEqual(['ws', 'zod']);
  });
});

describe('what a robot runs of each package', () => {
  it('is under 1 MB, in Node as well', async () => {
    const { metafile } = await build({
      entryPoints: [fileURLToPath(new URL('./index.ts', import.meta.url))],
      bundle: true,
      minify: true,
      format: 'esm',
      platform: 'node',
      // Optional parts of ws, which it does without.
      external: ['bufferutil', 'utf-8-validate'],
      write: false,
      metafile: true,
      logLevel: 'silent',
    });
    const sizes = new Map<string, number>();
    for (const { inputs } of Object.values(metafile.outputs)) {
      for (const [file, { bytesInOutput }] of Object.entries(inputs)) {
        const name = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1];
        if (name !== undefined) sizes.set(name, (sizes.get(name) ?? 0) + bytesInOutput);
      }
    }
    expect([...sizes.keys()]).toEqual(expect.arrayContaining(['ws', 'zod']));
    expect([...sizes].filter(([, bytes]) => bytes >= MOST_BYTES)).toEqual([]);
  });
});
