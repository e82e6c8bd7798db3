import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../../test/support/api.ts';
import { armSpec } from '../../../test/support/robots.ts';
import { addStoredVersion } from '../../../test/support/rows.ts';
import { Armature } from '../client.ts';
import { downloadPolicy } from './download-policy.ts';

let api: TestApi;
let dir: string;
let id: string;
let key: string;
let prefix: string;
/** Ranges that the store was asked for. */
let asked: (string | null)[];
/** Bytes after which a transfer breaks. */
let breaksAfter: number;

beforeAll(async () => {
  api = await startTestApi();
  const tenant = await api.tenant();
  ({ key } = tenant);
  const { id: embodiment } = await api.must('embodiments.create', key, { spec: armSpec });
  id = await addStoredVersion(api.db.worker, api.store, tenant.id, embodiment);
  const { digest } = await api.must('policies.get', key, { id });
  prefix = `tenants/${tenant.id}/policies/${digest}/`;
});
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'download-'));
  asked = [];
  breaksAfter = Infinity;
});
afterAll(async () => api.stop());

const client = () =>
  new Armature({
    apiUrl: api.url,
    apiKey: key,
    fetch: async (url, init) => {
      const answer = await fetch(url, init);
      if (!answer.url.includes('/store/')) return answer;
      asked.push(new Headers(init?.headers).get('range'));
      let left = breaksAfter;
      if (left === Infinity || answer.body === null) return answer;
      const cut = new TransformStream<Uint8Array, Uint8Array>({
        transform(piece, controller) {
          controller.enqueue(piece.subarray(0, left));
          left -= piece.length;
          if (left <= 0) controller.error(new Error('the line broke'));
        },
      });
      return new Response(answer.body.pipeThrough(cut), answer);
    },
  });
const stored = async (name: string) => Buffer.from(await api.store.get(prefix + name));
const NAMES = ['head.safetensors', 'manifest.json'];

it('fetches every file as it lies in the store, and none twice', async () => {
  const shares: number[] = [];
  const onProgress = ({ done, total }: { done: number; total: number }) =>
    shares.push(done / total);
  const got = await downloadPolicy({ client: client(), id, dir, onProgress });
  expect(got.files.map(({ path }) => path)).toEqual(NAMES);
  expect((await readdir(dir)).sort()).toEqual(NAMES);
  for (const name of NAMES) {
    expect((await readFile(join(dir, name))).equals(await stored(name))).toBe(true);
  }
  expect(shares.at(-1)).toBe(1);
  const before = asked.length;
  await downloadPolicy({ client: client(), id, dir });
  expect(asked).toHaveLength(before);
  await rm(dir, { recursive: true });
});

it('goes on where the line broke, and does not believe what is not the file', async () => {
  breaksAfter = 1_200_000;
  await downloadPolicy({ client: client(), id, dir });
  expect(asked[0]).toBeNull();
  expect(asked[1]).toMatch(/^bytes=[1-9]\d*-$/);
  breaksAfter = Infinity;
  // A part of other bytes, and a file that was cut after it was whole.
  await rm(join(dir, 'head.safetensors'));
  await writeFile(join(dir, 'head.safetensors.part'), Buffer.alloc(500_000));
  await truncate(join(dir, 'manifest.json'), 3);
  await downloadPolicy({ client: client(), id, dir });
  for (const name of NAMES) {
    expect((await readFile(join(dir, name))).equals(await stored(name))).toBe(true);
  }
  expect((await readdir(dir)).sort()).toEqual(NAMES);
  await rm(dir, { recursive: true });
});

it('leaves no file under its name that is not what the manifest says', async () => {
  const head = await stored('head.safetensors');
  await api.store.put(`${prefix}head.safetensors`, Buffer.alloc(head.length));
  try {
    await expect(downloadPolicy({ client: client(), id, dir })).rejects.toMatchObject({
      code: 'checksum_mismatch',
    });
    expect(await readdir(dir)).toEqual([]);
  } finally {
    await api.store.put(`${prefix}head.safetensors`, head);
  }
  await rm(dir, { recursive: true });
});
