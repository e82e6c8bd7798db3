import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import {
  ArmatureError,
  type DatasetFile,
  MAX_FILE_BYTES,
  type UploadPart,
} from '../../contract/index.ts';
import { Armature } from '../client.ts';
import { FakeApi } from '../testing/fake-api.ts';
import { dataset, report } from '../testing/resources.ts';
import { pushDataset, type PushProgress } from './push-dataset.ts';

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

const sha256 = (data: Uint8Array | string): string =>
  createHash('sha256').update(data).digest('hex');

/** A control plane with a store: it checks what arrives as the real one's signed URLs do. */
class Store {
  announced: DatasetFile[] = [];
  readonly there = new Map<string, Buffer>();
  /** Refuses or breaks a PUT; undefined lets it through. */
  trouble: (path: string, response: ServerResponse) => boolean = () => false;
  outcome: 'ready' | 'rejected' = 'ready';
  puts = 0;
  private polls = 0;

  async start(): Promise<{ api: FakeApi; client: Armature }> {
    const set = () => ({
      status: 'uploading' as const,
      files: this.announced.length,
      bytes: this.announced.reduce((sum, file) => sum + file.size, 0),
    });
    const plan = () => ({
      dataset: dataset({ ...set(), progress: 0 }),
      parts: this.announced.filter(({ path }) => !this.there.has(path)).map((f) => this.part(f)),
      expires_at: new Date(Date.now() + 60_000).toISOString(),
    });
    const api = await FakeApi.start(
      {
        'datasets.create': ({ files }) => {
          this.announced = files as DatasetFile[];
          return plan();
        },
        'datasets.plan': plan,
        'datasets.list': () => ({
          items: this.announced.length === 0 ? [] : [dataset(set())],
          next_cursor: null,
        }),
        'datasets.complete': () => {
          if (this.there.size === this.announced.length) return dataset({ status: 'validating' });
          throw new ArmatureError('incomplete_upload', 'files are missing', { field: 'files' });
        },
        'datasets.get': () => {
          const progress = Math.min(1, this.polls++ / 2);
          const finding = {
            severity: 'error' as const,
            code: 'video_too_short',
            message: 'the video ends before the episode',
            fix: 'Record the episode again.',
            episode: 3,
            feature: 'observation.images.top',
          };
          if (progress < 1) return dataset({ status: 'validating', progress });
          return this.outcome === 'ready'
            ? dataset({ report: report() })
            : dataset({ status: 'rejected', report: report({ findings: [finding] }) });
        },
      },
      (request, response) => this.put(request, response),
    );
    cleanups.push(() => api.stop());
    this.base = api.url;
    const retry = { baseMs: 1, maxMs: 5, attempts: 2 };
    return { api, client: new Armature({ apiUrl: api.url, apiKey: 'k', retry }) };
  }

  private base = '';

  private part(file: DatasetFile): UploadPart {
    return {
      path: file.path,
      url: `${this.base}/store/${file.path}`,
      method: 'PUT',
      headers: { 'content-type': 'application/octet-stream', 'x-sha256': file.sha256 },
      size: file.size,
    };
  }

  private async put(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const path = /^\/store\/(.*)$/.exec(request.url ?? '')?.[1];
    if (path === undefined) return false;
    this.puts += 1;
    if (this.trouble(path, response)) return true;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const bytes = Buffer.concat(chunks);
    const size = Number(request.headers['content-length']);
    if (size !== bytes.length || sha256(bytes) !== request.headers['x-sha256']) {
      const error = new ArmatureError('checksum_mismatch', 'the bytes are not those announced');
      response.writeHead(error.status).end(JSON.stringify(error.toProblem('req_1')));
      return true;
    }
    this.there.set(path, bytes);
    response.writeHead(200).end();
    return true;
  }
}

function folder(files: Record<string, string | Uint8Array>): string {
  const dir = mkdtempSync(join(tmpdir(), 'push-'));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(dir, path, '..'), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
  return dir;
}

const set = {
  'meta/info.json': '{}',
  'data/chunk-000/episode_000000.parquet': new Uint8Array(300_000).fill(7),
  'data/chunk-000/episode_000001.parquet': new Uint8Array(100_000).fill(8),
  '.cache/ignored': 'x',
};
const push = { embodimentId: 'emb_1', name: 'cups', pollMs: 1 };

async function refusal(promise: Promise<unknown>): Promise<ArmatureError> {
  const error: unknown = await promise.then(
    () => new Error('was not refused'),
    (reason: unknown) => reason,
  );
  if (error instanceof ArmatureError) return error;
  throw error;
}

describe('pushDataset', () => {
  it('hashes, sends, completes and waits, with progress', async () => {
    const store = new Store();
    const { api, client } = await store.start();
    const seen: PushProgress[] = [];
    const dir = folder(set);
    const result = await pushDataset({ ...push, client, dir, onProgress: (p) => seen.push(p) });
    expect(result).toMatchObject({ id: 'ds_1', status: 'ready' });
    expect(store.announced.map(({ path }) => path)).toEqual([
      'data/chunk-000/episode_000000.parquet',
      'data/chunk-000/episode_000001.parquet',
      'meta/info.json',
    ]);
    expect(store.announced[2]).toEqual({ path: 'meta/info.json', size: 2, sha256: sha256('{}') });
    expect(store.there.get('data/chunk-000/episode_000000.parquet')?.length).toBe(300_000);
    expect(api.names().slice(0, 3)).toEqual([
      'datasets.list',
      'datasets.create',
      'datasets.complete',
    ]);
    const last = (phase: string) => seen.findLast((p) => p.phase === phase);
    expect(last('hash')).toEqual({ phase: 'hash', done: 400_002, total: 400_002 });
    expect(last('upload')).toMatchObject({ done: 400_002, total: 400_002, datasetId: 'ds_1' });
    expect(last('validate')).toMatchObject({ done: 1, total: 1 });
  });

  it('goes on after it was cut off, and sends nothing twice', async () => {
    const store = new Store();
    const { client } = await store.start();
    const dir = folder(set);
    const stop = new AbortController();
    store.trouble = (path) => {
      if (!path.endsWith('1.parquet')) return false;
      stop.abort();
      return true;
    };
    const first = pushDataset({ ...push, client, dir, concurrency: 1, signal: stop.signal });
    expect((await refusal(first)).code).toBe('cancelled');
    expect([...store.there.keys()]).toEqual(['data/chunk-000/episode_000000.parquet']);

    store.trouble = () => false;
    const before = store.puts;
    const seen: PushProgress[] = [];
    await pushDataset({ ...push, client, dir, onProgress: (p) => seen.push(p) });
    expect(store.puts - before).toBe(2);
    expect(seen.find((p) => p.phase === 'upload')).toMatchObject({
      done: 300_000,
      resumedFiles: 1,
    });
    expect(store.there.size).toBe(3);
  });

  it('repeats what broke, and asks for new URLs where they ran out', async () => {
    const store = new Store();
    const { api, client } = await store.start();
    let n = 0;
    store.trouble = (path, response) => {
      if (path !== 'meta/info.json' || n > 2) return false;
      n += 1;
      if (n === 1) response.destroy();
      else
        response
          .writeHead(n === 2 ? 503 : 403)
          .end('<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>');
      return true;
    };
    const result = await pushDataset({ ...push, client, dir: folder(set) });
    expect(result.status).toBe('ready');
    expect(api.names().filter((name) => name === 'datasets.plan')).toHaveLength(1);
  });

  it('gives up where the store refuses for good', async () => {
    const store = new Store();
    const { client } = await store.start();
    store.trouble = (_, response) => {
      response.writeHead(403).end('<Error><Code>SignatureDoesNotMatch</Code></Error>');
      return true;
    };
    const error = await refusal(pushDataset({ ...push, client, dir: folder(set) }));
    expect([error.code, store.puts <= 4]).toEqual(['forbidden', true]);
  });

  it('gives the first finding of a set that is refused', async () => {
    const store = new Store();
    store.outcome = 'rejected';
    const { client } = await store.start();
    expect(await refusal(pushDataset({ ...push, client, dir: folder(set) }))).toMatchObject({
      code: 'invalid_dataset',
      field: 'episodes[3].observation.images.top',
      fix: 'Record the episode again.',
    });
  });

  it('says when a file is not the one that was announced before it was cut off', async () => {
    const store = new Store();
    const { client } = await store.start();
    const dir = folder(set);
    const stop = new AbortController();
    store.trouble = () => {
      stop.abort();
      return true;
    };
    await refusal(pushDataset({ ...push, client, dir, concurrency: 1, signal: stop.signal }));
    store.trouble = () => false;
    writeFileSync(join(dir, 'meta/info.json'), '[]');
    const error = await refusal(pushDataset({ ...push, client, dir }));
    expect([error.code, error.field]).toEqual(['checksum_mismatch', 'meta/info.json']);
    const anew = await pushDataset({ ...push, client, dir, resume: 'never' });
    expect(anew.status).toBe('ready');
  });

  it('refuses folders and files that cannot travel, by name', async () => {
    const store = new Store();
    const { api, client } = await store.start();
    const error = (dir: string) => refusal(pushDataset({ ...push, client, dir }));
    expect((await error(folder({ '.hidden': 'x' }))).code).toBe('empty_dataset');
    expect((await error('/nowhere/at/all')).code).toBe('not_found');
    expect(await error(folder({ 'meta/a b.json': 'x' }))).toMatchObject({
      code: 'invalid_dataset',
      field: 'meta/a b.json',
    });
    expect((await error(folder({ 'meta/empty.json': '' }))).message).toContain('is empty');
    const large = folder({ 'videos/long.mp4': 'x' });
    truncateSync(join(large, 'videos/long.mp4'), MAX_FILE_BYTES + 1);
    expect(await error(large)).toMatchObject({
      message: 'videos/long.mp4 has 5.0 TiB, more than 5',
      field: 'videos/long.mp4',
    });
    expect(api.calls).toEqual([]);
  });

  it('follows links, and stops at circles', async () => {
    const store = new Store();
    const { client } = await store.start();
    const dir = folder({ 'meta/info.json': '{}' });
    const blobs = folder({ blob: 'data' });
    symlinkSync(join(blobs, 'blob'), join(dir, 'data.parquet'));
    symlinkSync(dir, join(dir, 'meta', 'again'));
    await pushDataset({ ...push, client, dir });
    expect([...store.there.keys()].sort()).toEqual(['data.parquet', 'meta/info.json']);
  });
});
