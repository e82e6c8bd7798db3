import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

/** The contract's schemas, with what they use of zod, and the client. */
const MOST_BYTES = 300_000;

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
