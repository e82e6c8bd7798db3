import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { pruneCaches } from './prune.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'armature-prune-'));
  for (const [age, name] of ['new', 'middle', 'old'].entries()) {
    await mkdir(join(directory, name));
    const file = join(directory, name, 'frames.rgb');
    await writeFile(file, new Uint8Array(100));
    await utimes(file, 1000 - age * 10, 1000 - age * 10);
  }
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

it('removes the longest unused caches and keeps what fits', async () => {
  expect(await pruneCaches(directory, 250)).toEqual(['old']);
  expect(await readdir(directory)).toEqual(['middle', 'new']);
  expect(await pruneCaches(directory, 250)).toEqual([]);
  expect(await pruneCaches(directory, 0)).toEqual(['new', 'middle']);
});
