import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Armature } from '@armature/sdk';
import postgresOf from 'postgres';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { PLATFORM_KEY, SEALING_KEYS } from './support/api.ts';
import { apiEnvironment, freePort, startApiProcess } from './support/api-process.ts';
import { startNodeProcess, type NodeProcess } from './support/node-process.ts';
import { startTestPostgres, type TestPostgres } from './support/postgres.ts';
import { armSpec, fileOf } from './support/robots.ts';

/** Processes start, and the queue waits for its own retries. */
const SLOW = 240_000;
const root = fileURLToPath(new URL('../', import.meta.url));

let postgres: TestPostgres;
let admin: postgresOf.Sql;
let storeRoot: string;
let api: NodeProcess;
let client: Armature;
let apiKey: string;
let workerEnvironment: Record<string, string>;
let upload: () => Promise<string>;

beforeAll(async () => {
  postgres = await startTestPostgres();
  const { adminUrl, appUrl, workerUrl } = await postgres.database();
  admin = postgresOf(adminUrl, { max: 1 });
  storeRoot = await mkdtemp(path.join(tmpdir(), 'armature-webhooks-'));
  const port = await freePort();
  const apiUrl = `http://127.0.0.1:${port}`;
  api = await startApiProcess(
    apiEnvironment({ databaseUrl: appUrl, storeRoot, publicUrl: apiUrl }),
    port,
  );
  workerEnvironment = { WORKER_ID: 'webhooks-1', DATABASE_URL: workerUrl, SEALING_KEYS };
  const made = await new Armature({ apiUrl, apiKey: PLATFORM_KEY }).tenants.create({
    name: 'told',
  });
  apiKey = made.secret;
  client = new Armature({ apiUrl, apiKey });
  const { id: embodimentId } = await client.embodiments.create({ spec: armSpec });
  const content = Buffer.from('{}');
  upload = async () => {
    const { dataset, parts } = await client.datasets.create({
      name: 'cups',
      embodiment_id: embodimentId,
      files: [fileOf('meta/info.json', content)],
    });
    for (const { url, headers } of parts) {
      await fetch(url, { method: 'PUT', headers, body: content });
    }
    await client.datasets.complete({ id: dataset.id });
    return dataset.id;
  };
}, SLOW);
afterAll(async () => {
  await api.stop();
  await admin.end();
  await postgres.stop();
  await rm(storeRoot, { recursive: true, force: true });
});

/** What waits for its next try is tried at once. */
async function letTheNextTryBegin(): Promise<void> {
  await admin`update pgboss.job set start_after = now() where name = 'webhook' and state = 'retry'`;
}

const latest = async (id: string) => (await client.webhooks.deliveries({ id })).items[0];

/** The command line as a process, as JSON. */
async function armature(...words: string[]): Promise<unknown> {
  const child = spawn(process.execPath, ['sdk/bin/armature.mjs', ...words, '--json'], {
    cwd: root,
    env: {
      PATH: process.env['PATH'],
      ARMATURE_API_URL: client.apiUrl,
      ARMATURE_API_KEY: apiKey,
    },
  });
  let [out, log] = ['', ''];
  child.stdout.on('data', (piece: Buffer) => (out += piece.toString()));
  child.stderr.on('data', (piece: Buffer) => (log += piece.toString()));
  const [code] = (await once(child, 'close')) as [number];
  if (code !== 0) throw new Error(log);
  return JSON.parse(out);
}

/** The receiver that the guide for receivers shows, as it stands there. */
async function startReceiver(secret: string, port: number) {
  const guide = await readFile(path.join(root, 'sdk/WEBHOOKS.md'), 'utf8');
  const code = /```js\n([\s\S]*?)```/.exec(guide)?.[1] ?? '';
  const child: ChildProcess = spawn(process.execPath, ['--input-type=module', '--eval', code], {
    cwd: root,
    env: { PATH: process.env['PATH'], WEBHOOK_SECRET: secret, PORT: String(port) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout?.on('data', (piece: Buffer) => (out += piece.toString()));
  return {
    /** What it verified. */
    events: () =>
      out
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    stop: async () => {
      child.kill();
      await once(child, 'exit');
    },
  };
}

describe('webhooks, from a change of state to a receiver', () => {
  it(
    'are retried while it is down, arrive signed, and again when they are replayed',
    { timeout: SLOW },
    async () => {
      const worker = await startNodeProcess('workers/webhooks/main.ts', {
        ...workerEnvironment,
        WEBHOOK_ALLOW_LOOPBACK: 'true',
      });
      const port = await freePort();
      const { webhook, secret } = (await armature(
        'webhooks',
        'create',
        `http://127.0.0.1:${port}/armature`,
        '--events',
        'dataset.validating',
      )) as Awaited<ReturnType<typeof client.webhooks.create>>;
      const datasetId = await upload();
      const settle = { timeout: 120_000, interval: 100 };
      for (const attempts of [1, 2]) {
        await vi.waitFor(async () => {
          expect(await latest(webhook.id)).toMatchObject({
            event: 'dataset.validating',
            status: 'pending',
            attempts,
            answer_status: null,
            error: 'the connection failed (ECONNREFUSED)',
          });
        }, settle);
        if (attempts === 1) await letTheNextTryBegin();
      }

      const receiver = await startReceiver(secret, port);
      await vi.waitFor(async () => {
        await letTheNextTryBegin();
        expect(await latest(webhook.id)).toMatchObject({ status: 'delivered', answer_status: 204 });
      }, settle);
      const delivery = await latest(webhook.id);
      expect(receiver.events()).toMatchObject([
        {
          id: delivery?.id,
          isRepeat: false,
          type: 'dataset.validating',
          data: { id: datasetId, name: 'cups', status: 'validating' },
        },
      ]);

      await armature('webhooks', 'replay', delivery?.id ?? '');
      await vi.waitFor(() => {
        expect(receiver.events()[1]).toMatchObject({ id: delivery?.id, isRepeat: true });
      }, settle);
      await receiver.stop();
      // A receiver with another secret takes nothing.
      const stranger = await startReceiver(`whsec_${Buffer.alloc(32, 1).toString('base64')}`, port);
      await armature('webhooks', 'replay', delivery?.id ?? '');
      await vi.waitFor(async () => {
        expect(await latest(webhook.id)).toMatchObject({ status: 'pending', answer_status: 400 });
      }, settle);
      expect(stranger.events()).toEqual([]);
      await stranger.stop();
      expect(await worker.stop()).toBe(0);
      await client.webhooks.delete({ id: webhook.id });
    },
  );

  it(
    'reach nothing on the machine or inside of its network in production',
    { timeout: SLOW },
    async () => {
      const worker = await startNodeProcess('workers/webhooks/main.ts', workerEnvironment);
      const inside = [
        'https://127.0.0.1:1/',
        'https://localhost:1/',
        'https://10.0.0.1/',
        'https://[::1]:1/',
      ];
      const webhooks = await Promise.all(
        inside.map((url) => client.webhooks.create({ url, events: ['dataset.validating'] })),
      );
      await upload();
      for (const { webhook } of webhooks) {
        await vi.waitFor(
          async () => {
            const told = await latest(webhook.id);
            expect([webhook.url, told?.error]).toEqual([
              webhook.url,
              'the host has an address that is not public',
            ]);
          },
          { timeout: 60_000, interval: 100 },
        );
      }
      expect(await worker.stop()).toBe(0);
    },
  );

  it.each([
    [{}, 'SEALING_KEYS: '],
    [{ SEALING_KEYS: 'k1:short' }, 'SEALING_KEYS: each key must be id:key'],
  ])('do not start without a key that opens their secrets', async (keys, message) => {
    const { WORKER_ID, DATABASE_URL } = workerEnvironment;
    const start = startNodeProcess('workers/webhooks/main.ts', {
      WORKER_ID: WORKER_ID ?? '',
      DATABASE_URL: DATABASE_URL ?? '',
      ...keys,
    });
    await expect(start).rejects.toThrow(message);
  });
});
