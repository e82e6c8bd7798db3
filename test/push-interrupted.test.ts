import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ArmatureError, datasetSchema } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startTestApi, type TestApi } from './support/api.ts';
import { armSpec } from './support/robots.ts';

const bin = fileURLToPath(new URL('../sdk/bin/armature.mjs', import.meta.url));
const paths = [
  'meta/info.json',
  ...Array.from({ length: 7 }, (_, i) => `data/episode_${i}.parquet`),
];

describe('armature datasets push', () => {
  let api: TestApi;
  let folder: string;
  let set: string;
  let key: string;
  let embodiment: string;
  beforeAll(async () => {
    api = await startTestApi();
    ({ key } = await api.tenant());
    ({ id: embodiment } = await api.must('embodiments.create', key, { spec: armSpec }));
    folder = await mkdtemp(join(tmpdir(), 'armature-push-'));
    set = join(folder, 'set');
    for (const [index, path] of paths.entries()) {
      await mkdir(dirname(join(set, path)), { recursive: true });
      await writeFile(join(set, path), Buffer.alloc(200_000 + index, index));
    }
  });
  afterAll(async () => {
    await api.stop();
    await rm(folder, { recursive: true, force: true });
  });

  /**
   * Watches what the store receives; a write waits when `holds` says so, until `release` lets it through or
   * `drop` ends it: what the operating system has buffered of a connection that was cut would still arrive.
   */
  const watch = (holds: (begun: number) => boolean) => {
    const begin = api.store.beginWrite.bind(api.store);
    let open = (_isDropped: boolean): void => undefined;
    const gate = new Promise<boolean>((resolve) => (open = resolve));
    const seen = { begun: 0, waiting: 0, active: 0, most: 0, stored: [] as string[] };
    Object.assign(api.store, {
      beginWrite: async () => {
        seen.begun += 1;
        seen.active += 1;
        seen.most = Math.max(seen.most, seen.active);
        if (holds(seen.begun)) {
          seen.waiting += 1;
          if (await gate) {
            seen.active -= 1;
            throw new ArmatureError('incomplete_upload', 'the connection was cut');
          }
        }
        const writer = await begin();
        return {
          ...writer,
          commit: async (...at: Parameters<typeof writer.commit>) => {
            const receipt = await writer.commit(...at);
            const [key, part] = at;
            const path = key.replace(/^.*\/files\//, '');
            seen.stored.push(part === undefined ? path : `${path} ${String(part.number)}`);
            seen.active -= 1;
            return receipt;
          },
          abort: async () => {
            seen.active -= 1;
            await writer.abort();
          },
        };
      },
    });
    return {
      seen,
      release: () => open(false),
      drop: () => open(true),
      end: () => Object.assign(api.store, { beginWrite: begin }),
    };
  };

  const push = (concurrency: number, dir = set, ...more: string[]) => {
    const args = ['datasets', 'push', dir, '--embodiment', embodiment, '--no-validate', '--json'];
    args.push('--concurrency', String(concurrency), ...more);
    const child = spawn(process.execPath, [bin, ...args], {
      env: { PATH: process.env['PATH'], ARMATURE_API_URL: api.url, ARMATURE_API_KEY: key },
      cwd: folder,
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (piece: Buffer) => (stdout += piece.toString()));
    child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()));
    const ended = once(child, 'close').then(([code]) => ({
      code: code as unknown,
      stdout,
      stderr,
    }));
    return { child, ended };
  };

  it('goes on after Ctrl-C with the files that are missing, as many at a time as it is told', async () => {
    // Three files get through, then the store takes no more.
    const first = watch((begun) => begun > 3);
    const interrupted = push(4);
    await vi.waitUntil(() => first.seen.waiting === 4, { timeout: 60_000, interval: 20 });
    interrupted.child.kill('SIGINT');
    const stopped = await interrupted.ended;
    expect(stopped.code).toBe(130);
    expect(JSON.parse(stopped.stderr)).toMatchObject({ error: { code: 'cancelled' } });
    first.drop();
    await vi.waitUntil(() => first.seen.active === 0, { timeout: 60_000, interval: 20 });
    first.end();
    expect(first.seen.most).toBe(4);
    expect(first.seen.stored).toHaveLength(3);
    const { items } = await api.must('datasets.list', key, {});
    expect(items).toMatchObject([{ status: 'uploading', files: 8 }]);

    // Nothing is taken before three are under way at once.
    const second = watch((begun) => begun <= 3);
    const again = push(3);
    await vi.waitUntil(() => second.seen.waiting === 3, { timeout: 60_000, interval: 20 });
    second.release();
    const done = await again.ended;
    second.end();
    expect(done).toMatchObject({ code: 0 });
    const dataset = datasetSchema.parse(JSON.parse(done.stdout));
    expect(dataset).toMatchObject({ id: items[0]?.id, status: 'validating' });
    expect(second.seen.most).toBe(3);
    expect(second.seen.stored).toHaveLength(5);
    expect([...first.seen.stored, ...second.seen.stored].sort()).toEqual([...paths].sort());
  });

  it('goes on after Ctrl-C inside a file, with the parts of it that are missing', async () => {
    const dir = join(folder, 'large');
    await mkdir(join(dir, 'videos'), { recursive: true });
    const large = randomBytes(5 * 2 ** 20 + 17);
    await writeFile(join(dir, 'videos/long.mp4'), large);
    await writeFile(join(dir, 'info.json'), '{}');
    // The small file and three parts get through.
    const first = watch((begun) => begun > 4);
    const interrupted = push(2, dir, '--part-size', '1');
    await vi.waitUntil(() => first.seen.waiting === 2, { timeout: 60_000, interval: 20 });
    interrupted.child.kill('SIGINT');
    expect((await interrupted.ended).code).toBe(130);
    first.drop();
    await vi.waitUntil(() => first.seen.active === 0, { timeout: 60_000, interval: 20 });
    first.end();
    expect(first.seen.most).toBe(2);
    expect(first.seen.stored).toHaveLength(4);

    const second = watch(() => false);
    // Of what size the parts are was settled when the upload began.
    const done = await push(2, dir, '--part-size', '4').ended;
    second.end();
    expect(done).toMatchObject({ code: 0 });
    const { id } = datasetSchema.parse(JSON.parse(done.stdout));
    // The last is the whole, joined.
    expect(second.seen.stored).toHaveLength(4);
    expect(second.seen.stored.at(-1)).toBe('videos/long.mp4');
    expect([...first.seen.stored, ...second.seen.stored].sort()).toEqual([
      'info.json',
      'videos/long.mp4',
      ...[1, 2, 3, 4, 5, 6].map((part) => `videos/long.mp4 ${String(part)}`),
    ]);
    const keys: string[] = [];
    for await (const { key: at } of api.store.list('tenants/')) keys.push(at);
    const at = keys.find((one) => one.endsWith(`${id}/files/videos/long.mp4`)) ?? '';
    expect(Buffer.from(await api.store.get(at)).equals(large)).toBe(true);
  });
});
