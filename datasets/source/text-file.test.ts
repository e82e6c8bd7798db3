import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import type { BlobSource } from './blob-source.ts';
import { fromDirectory } from './directory.ts';
import { readText, readTextLines } from './text-file.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'armature-text-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function linesOf(source: BlobSource, path: string): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of readTextLines(source, path)) lines.push(line);
  return lines;
}

/** The file alone, of which no read may ask for more than a piece. */
function inPieces(text: string): BlobSource {
  const bytes = Buffer.from(text);
  return {
    size: () => Promise.resolve(bytes.length),
    list: () => Promise.resolve(['lines']),
    read: (_path, range) => {
      if (range === undefined || range.end - range.start > 1 << 20) throw new Error('too much');
      return Promise.resolve(bytes.subarray(range.start, range.end));
    },
  };
}

describe('text files', () => {
  it('have the lines that a split of the whole gives, wherever pieces end', async () => {
    // A character of several bytes, and a line's end, at every place around the end of a piece.
    for (let before = (1 << 20) - 5; before <= 1 << 20; before += 1) {
      const text = `${'x'.repeat(before)}é\n\n☃\r\n${'y'.repeat(1 << 20)}\nend`;
      expect(await linesOf(inPieces(text), 'lines')).toEqual(text.split('\n'));
    }
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: 'grapheme' })), async (lines) => {
        const text = lines.join('\n');
        expect(await linesOf(inPieces(text), 'lines')).toEqual(text.split('\n'));
      }),
    );
  });

  it('are refused by name where they are larger than such files are, before they are read', async () => {
    await writeFile(join(folder, 'huge'), '');
    await truncate(join(folder, 'huge'), 3 * 2 ** 30);
    const source = fromDirectory(folder);
    const refused = {
      code: 'payload_too_large',
      field: 'huge',
      fix: expect.stringContaining('huge') as string,
    };
    await expect(readText(source, 'huge')).rejects.toMatchObject(refused);
    await expect(linesOf(source, 'huge')).rejects.toMatchObject(refused);
    // One line of zeros, in a file that may be so large.
    await truncate(join(folder, 'huge'), 700 * 2 ** 20);
    await expect(linesOf(source, 'huge')).rejects.toMatchObject({
      ...refused,
      message: expect.stringContaining('a line of huge is larger than 16 MiB') as string,
    });
  });
});
