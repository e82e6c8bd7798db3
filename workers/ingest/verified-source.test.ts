import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DiskStore, type ObjectStore } from '@armature/storage';
import { expect, it } from 'vitest';
import { verifiedSource } from './verified-source.ts';

const PREFIX = 'tenants/ten_a/datasets/ds_a/files/';

it('keeps few copies of a distant store, among them what any lane was told of last', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'armature-verified-'));
  const disk = new DiskStore({
    kind: 'disk',
    root: join(folder, 'store'),
    publicUrl: 'http://127.0.0.1:1',
    secret: 'a secret that is only for tests, 32+',
  });
  const store = new Proxy<ObjectStore>(disk, {
    get: (target, name: keyof ObjectStore) => {
      const value = name === 'localPath' ? undefined : target[name];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const bytes = Buffer.alloc(1_000, 7);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  // Four lanes: rows and four cameras of four episodes each.
  const lanes = 4;
  const episodes = Array.from({ length: lanes * 4 }, (_, episode) =>
    Array.from({ length: 5 }, (_, part) => `${episode}/${part}`),
  );
  for (const path of episodes.flat()) await store.put(PREFIX + path, bytes);
  const scratch = join(folder, 'scratch');
  const files = episodes.flat().map((path) => ({ path, size: bytes.length, sha256 }));
  const source = verifiedSource(store, PREFIX, files, { scratch, lanes, keptBytes: 0 });

  const waiting = [...episodes];
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      for (let episode = waiting.shift(); episode !== undefined; episode = waiting.shift()) {
        const locals: string[] = [];
        for (const path of episode) locals.push(await source.localPath(path));
        // Opened only when all of the episode have been told.
        for (const local of locals) expect((await readFile(local)).equals(bytes)).toBe(true);
        const copies = (await readdir(scratch, { recursive: true })).filter((name) =>
          name.includes('/'),
        );
        expect(copies.length).toBeLessThanOrEqual(8 * lanes + lanes);
      }
    }),
  );
  await rm(folder, { recursive: true });
});
