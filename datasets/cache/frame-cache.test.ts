import { cp, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { discPicture, writeSmallDataset } from '../../test/support/small-dataset.ts';
import { type BlobSource, FrameCache, fromDirectory, openDataset } from '../index.ts';

describe('FrameCache', () => {
  let set: Awaited<ReturnType<typeof writeSmallDataset>>;
  let dir: string;
  let preprocessModule: URL;
  beforeAll(async () => {
    set = await writeSmallDataset();
  });
  afterAll(async () => {
    await set.remove();
  });
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'armature-cache-'));
    const path = join(dir, 'corner.mjs');
    await writeFile(
      path,
      `export function preprocessImage(rgb, width, height, target) {
        const out = new Uint8Array(target.width * target.height * 3);
        for (let y = 0; y < target.height; y++)
          out.set(rgb.subarray(y * width * 3, y * width * 3 + target.width * 3), y * target.width * 3);
        return out;
      }`,
    );
    preprocessModule = new URL(`file://${path}`);
  });
  afterEach(async () => {
    await rm(dir, { recursive: true, force: true });
  });

  const size = { width: 40, height: 20 };
  const corner = (picture: Uint8Array): Uint8Array =>
    Uint8Array.from({ length: 40 * 20 * 3 }, (_, i) => {
      const y = Math.floor(i / 120);
      return picture[y * 48 * 3 + (i % 120)] ?? -1;
    });
  const files = async (): Promise<string[]> =>
    (await readdir(dir, { recursive: true })).filter((name) => name.includes('/')).sort();

  it('holds every picture as the pre-processing gives it', async () => {
    const dataset = await openDataset(fromDirectory(set.directory));
    const progress: number[] = [];
    const cache = await FrameCache.build(dataset, {
      dir,
      size,
      preprocessModule,
      key: 'a',
      onProgress: (fraction) => progress.push(fraction),
    });
    for (const [episode, t] of [
      [0, 0],
      [1, 29],
      [2, 13],
    ] as const) {
      expect(cache.frame(episode, 'top', t)).toEqual(corner(discPicture(episode, t)));
    }
    expect(() => cache.frame(0, 'top', 30)).toThrow(/no frame 30/);
    expect(() => cache.frame(0, 'wrist', 0)).toThrow(/wrist/);
    cache.close();
    expect(progress.at(-1)).toBe(1);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(await files()).toHaveLength(3);
  });

  it('reads a set that lies elsewhere, finds finished work again and tells keys apart', async () => {
    const local = fromDirectory(set.directory);
    let reads = 0;
    const source: BlobSource = {
      size: local.size,
      list: local.list,
      read: (path, range) => {
        if (path.endsWith('.mp4')) reads += 1;
        return local.read(path, range);
      },
    };
    const dataset = await openDataset(source);
    const build = (key: string, episodes?: number[]): Promise<FrameCache> =>
      FrameCache.build(dataset, {
        dir,
        size,
        preprocessModule,
        key,
        ...(episodes === undefined ? {} : { episodes }),
      });
    await build('a', [1]);
    expect(reads).toBe(1);
    await build('a');
    expect(reads).toBe(3);
    const cache = await build('a');
    expect(reads).toBe(3);
    expect(cache.frame(1, 'top', 7)).toEqual(corner(discPicture(1, 7)));
    cache.close();
    await build('b', [0]);
    expect(reads).toBe(4);
    expect((await files()).filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  it('stops when it is cancelled and keeps only finished files', async () => {
    const dataset = await openDataset(fromDirectory(set.directory));
    const controller = new AbortController();
    const building = FrameCache.build(dataset, {
      dir,
      size,
      preprocessModule,
      key: 'a',
      workers: 1,
      signal: controller.signal,
      onProgress: (fraction) => {
        if (fraction > 0.1) controller.abort();
      },
    });
    await expect(building).rejects.toMatchObject({ code: 'cancelled' });
    const left = await files();
    expect(left.length).toBeLessThan(3);
    expect(left.every((name) => name.endsWith('.rgb'))).toBe(true);
  });

  it('fails with the reason of the thread', async () => {
    const dataset = await openDataset(fromDirectory(set.directory));
    await writeFile(join(dir, 'none.mjs'), 'export {};');
    const building = FrameCache.build(dataset, {
      dir,
      size,
      preprocessModule: new URL(`file://${join(dir, 'none.mjs')}`),
      key: 'a',
    });
    await expect(building).rejects.toThrow(/no function preprocessImage/);
    await cp(set.directory, join(dir, 'set'), { recursive: true });
    const lines = join(dir, 'set', 'meta/episodes.jsonl');
    await writeFile(lines, (await readFile(lines, 'utf8')).replaceAll(':30}', ':31}'));
    const lying = await openDataset(fromDirectory(join(dir, 'set')));
    await expect(
      FrameCache.build(lying, { dir, size, preprocessModule, key: 'a' }),
    ).rejects.toMatchObject({
      code: 'invalid_dataset',
      message: expect.stringMatching(/has 30 frames, its episode has 31/),
    });
  });
});
