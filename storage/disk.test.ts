import { createHash } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArmatureError } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { objectStoreContract } from './contract.suite.ts';
import { DiskStore } from './disk.ts';
import { diskDownloadHandler } from './disk-download.ts';
import { diskUploadHandler } from './disk-upload.ts';
import { storeConfigFromEnv } from './config.ts';

const secret = 'a secret of more than thirty-two characters';
let root: string;
let server: Server;
let store: DiskStore;
const failures: unknown[] = [];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'armature-store-'));
  server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  store = new DiskStore({ kind: 'disk', root, publicUrl: `http://127.0.0.1:${port}`, secret });
  const handle = diskUploadHandler(store);
  const send = diskDownloadHandler(store);
  if (handle === null || send === null) throw new Error('a disk store has an upload handler');
  server.on('request', (req, res) => {
    const headers = Object.fromEntries(
      Object.entries(req.headers).map(([name, value]) => [name, String(value)]),
    );
    const refuse = (error: unknown): void => {
      failures.push(error);
      res.writeHead(error instanceof ArmatureError ? error.status : 500).end();
    };
    if (req.method === 'GET') {
      send({ url: req.url ?? '', range: headers['range'] })
        .then(async (download) => {
          res.writeHead(download.status, download.headers);
          for await (const piece of download.body) res.write(piece);
          res.end();
        })
        .catch(refuse);
      return;
    }
    handle({ method: req.method ?? '', url: req.url ?? '', headers, body: req })
      .then(() => res.writeHead(200).end())
      .catch(refuse);
  });
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(root, { recursive: true });
});

describe('disk store', () => {
  it('takes away what killed processes left in tmp, and nothing that is still written', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'armature-killed-'));
    const config = { kind: 'disk', root: folder, publicUrl: 'http://localhost', secret } as const;
    const killed = await new DiskStore(config).beginWrite();
    await killed.write(Buffer.from('half of it'));
    const day = 86_400_000;
    const late = new DiskStore(config, () => Date.now() + day - 60_000);
    await late.put('tenants/ten_a/a', Buffer.from('a'));
    expect(await readdir(join(folder, 'tmp'))).toHaveLength(1);
    const later = new DiskStore(config, () => Date.now() + day + 60_000);
    await later.put('tenants/ten_a/b', Buffer.from('b'));
    expect(await readdir(join(folder, 'tmp'))).toEqual([]);
    expect(Buffer.from(await later.get('tenants/ten_a/a')).toString()).toBe('a');
    await killed.abort();
    await rm(folder, { recursive: true });
  });

  objectStoreContract(() => store);

  it('leaves no temporary file behind', async () => {
    expect(await readdir(join(root, 'tmp'))).toEqual([]);
  });

  it('drops an upload whose connection breaks', async () => {
    const bytes = Buffer.alloc(200_000, 7);
    const key = 'tenants/ten_a/broken';
    const upload = await store.presignPut(key, {
      size: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      contentType: 'text/plain',
      expiresInS: 60,
    });
    failures.length = 0;
    await new Promise<void>((resolve) => {
      const outgoing = request(upload.url, {
        method: 'PUT',
        headers: { ...upload.headers, 'content-length': bytes.length },
      });
      outgoing.on('error', () => resolve());
      outgoing.write(bytes.subarray(0, 100_000));
      setTimeout(() => outgoing.destroy(), 100);
    });
    await expect.poll(() => failures.length).toBe(1);
    expect(failures[0]).toMatchObject({ code: 'incomplete_upload', field: key });
    expect(await store.head(key)).toBeNull();
    expect(await readdir(join(root, 'tmp'))).toEqual([]);
  });

  it('never believes the sum of other bytes', async () => {
    const key = 'tenants/ten_a/edited';
    await store.put(key, Buffer.from('before'));
    await writeFile(join(root, 'objects', key), 'after!');
    const sum = createHash('sha256').update('after!').digest('hex');
    expect(await store.head(key)).toEqual({ size: 6, sha256: sum });
    expect(await readFile(await store.localPath(key), 'utf8')).toBe('after!');
  });

  it('refuses a key below or above another', async () => {
    await store.put('tenants/ten_a/folder/file', Buffer.from('x'));
    const conflict = expect.objectContaining({ code: 'conflict' }) as unknown;
    await expect(store.put('tenants/ten_a/folder', Buffer.from('x'))).rejects.toEqual(conflict);
    await expect(store.put('tenants/ten_a/folder/file/x', Buffer.from('x'))).rejects.toEqual(
      conflict,
    );
    expect(await readdir(join(root, 'tmp'))).toEqual([]);
  });

  it('survives puts, deletes and lists of one folder at a time', async () => {
    await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        const key = `tenants/ten_race/x/${i % 4}`;
        await store.put(key, Buffer.from(String(i)));
        await store.delete(key);
      }),
    );
    for await (const { key } of store.list('tenants/ten_race/')) throw new Error(`${key} is left`);
    expect(await readdir(join(root, 'tmp'))).toEqual([]);
  });
});

describe('storeConfigFromEnv', () => {
  it('names what is missing', () => {
    expect(() => storeConfigFromEnv({})).toThrow(/STORE_KIND is not set/);
    expect(() => storeConfigFromEnv({ STORE_KIND: 'tape' })).toThrow(/tape/);
    expect(() => storeConfigFromEnv({ STORE_KIND: 'disk', STORE_ROOT: '/x' })).toThrow(
      /STORE_PUBLIC_URL/,
    );
  });
});
