import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { expect, it } from 'vitest';
import type { BlobSource } from './blob-source.ts';
import { LocalCopies } from './local-copies.ts';

const SIZE = 1_000;

it('holds no more copies than it may, but the last ones, and fetches again what it has removed', async () => {
  const fetched: string[] = [];
  const source: BlobSource = {
    size: () => Promise.resolve(SIZE),
    list: () => Promise.resolve([]),
    read: (path) => {
      fetched.push(path);
      return Promise.resolve(new Uint8Array(SIZE).fill(Number(path)));
    },
  };
  const copies = new LocalCopies(source, 6 * SIZE);
  const there = new Map<string, string>();
  const sizeNow = async (): Promise<number> => {
    const sizes = [...there.values()].map((local) =>
      stat(local).then(
        ({ size }) => size,
        () => 0,
      ),
    );
    return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  };
  // 0 is asked for again and again, and stays.
  for (let i = 0; i < 20; i += 1) {
    for (const path of ['0', String(i)]) {
      const local = await copies.path(path);
      there.set(path, local);
      expect((await readFile(local))[0]).toBe(Number(path));
    }
    expect(await sizeNow()).toBeLessThanOrEqual(6 * SIZE);
  }
  expect(fetched).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
  await copies.path('3');
  expect(fetched.slice(20)).toEqual(['3']);

  const few = new LocalCopies(source, 0);
  const asked = await Promise.all(['1', '2', '3', '4'].map((path) => few.path(path)));
  for (const local of asked) expect((await stat(local)).size).toBe(SIZE);
  await few.close();
  await copies.close();
  await expect(stat(dirname(there.get('0') ?? ''))).rejects.toThrow('ENOENT');
});
