/**
 * Validates a set that lies in an object store, in a process of its own, and prints its peak resident
 * memory in MiB. `validate-store.ts FOLDER EPISODES`: the store's only set has one
 * file of rows, which each of its EPISODES is.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromStore, type ReadableStore, validateSource } from '@armature/datasets';
import { embodimentSpecSchema } from '@armature/sdk/contract';
import { DiskStore } from '@armature/storage';

const [folder = '', episodes = '0'] = process.argv.slice(2);
const PREFIX = 'tenants/ten_a/datasets/ds_a/files/';
const secret = 'a secret that is only for tests, 32+';
const disk = new DiskStore({
  kind: 'disk',
  root: join(folder, 'store'),
  publicUrl: 'http://127.0.0.1:1',
  secret,
});
const first = (key: string): string =>
  key.replace(/episode_\d{6}\.parquet$/, 'episode_000000.parquet');
/** Reads in ranges, as over a network: no local files. */
const store: ReadableStore = {
  get: (key, range) => disk.get(first(key), range),
  head: (key) => disk.head(first(key)),
  list: (prefix) => disk.list(prefix),
};
const line = (index: number): string =>
  JSON.stringify({ episode_index: index, tasks: ['move'], length: LENGTH });
const spec = embodimentSpecSchema.parse(
  JSON.parse(await readFile(join(folder, 'spec.json'), 'utf8')),
);
const LENGTH = Number(await readFile(join(folder, 'length'), 'utf8'));
await disk.put(
  `${PREFIX}meta/episodes.jsonl`,
  Buffer.from(Array.from({ length: Number(episodes) }, (_, index) => line(index)).join('\n')),
);
const report = await validateSource(fromStore(store, PREFIX), spec, { scratch: folder, lanes: 1 });
if (report.stats === null) throw new Error(JSON.stringify(report.findings));
process.stdout.write(
  JSON.stringify({ frames: report.frames, peakMib: process.resourceUsage().maxRSS / 1024 }),
);
