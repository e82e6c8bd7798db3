import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { claimJob } from '@armature/db';
import type { RouteInput } from '@armature/sdk/contract';
import { pino } from 'pino';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import postgres, { type Sql } from 'postgres';
import { startTestApi, type TestApi } from '../../test/support/api.ts';
import { armSpec, fileOf } from '../../test/support/robots.ts';
import { markDataset } from '../../test/support/rows.ts';
import { runDelivery, RETRY_S, type DeliveryServices } from './job.ts';
import { isAllowed, postSafely } from './post.ts';

let api: TestApi;
let admin: Sql;
let receiver: Server;
let url: string;
let received: { headers: IncomingHttpHeaders; body: string }[];
/** What the receiver answers, and where it sends on to. */
let answers: { status: number; location?: string }[];

beforeAll(async () => {
  api = await startTestApi();
  admin = postgres(api.db.adminUrl, { max: 1 });
  receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (piece: Buffer) => (body += piece.toString()));
    request.on('end', () => {
      received.push({ headers: request.headers, body });
      const { status, location } = answers.shift() ?? { status: 200 };
      response.writeHead(status, location === undefined ? {} : { location }).end('ok');
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
});
beforeEach(() => {
  received = [];
  answers = [];
});
afterAll(async () => {
  receiver.closeAllConnections();
  receiver.close();
  await admin.end();
  await api.stop();
});

async function subscribed(events: RouteInput<'webhooks.create'>['events']) {
  const { id: tenant, key } = await api.tenant();
  const { webhook, secret } = await api.must('webhooks.create', key, { url, events });
  const { id: embodiment } = await api.must('embodiments.create', key, { spec: armSpec });
  const { dataset } = await api.must('datasets.create', key, {
    name: 'cups',
    embodiment_id: embodiment,
    files: [fileOf('a', Buffer.alloc(1))],
  });
  const ready = () => markDataset(api.db.worker, tenant, dataset.id, 'ready');
  const deliveries = async () =>
    (await api.must('webhooks.deliveries', key, { id: webhook.id })).items;
  return { tenant, key, webhook, secret, dataset, ready, deliveries };
}

/** Runs every delivery that is due; returns how many. */
async function deliver(over: Partial<DeliveryServices> = {}): Promise<number> {
  for (let count = 0; ; count++) {
    const job = await claimJob(api.db.worker, { kinds: ['webhook'], owner: 'w', leaseMs: 60_000 });
    if (job === null) return count;
    await runDelivery(
      job,
      performance.now(),
      {
        db: api.db.worker,
        log: pino({ level: 'silent' }),
        nowMs: () => performance.now(),
        clock: () => new Date(),
        beatMs: 1_000,
        timeoutMs: 2_000,
        allowLoopback: true,
        ...over,
      },
      new AbortController().signal,
    );
  }
}
const makeDue = () => admin`update jobs set run_at = now() where kind = 'webhook'`;

describe('a webhook', () => {
  it('is told once of a state that it asked for, signed as Standard Webhooks verifies', async () => {
    const { key, secret, dataset, ready, deliveries } = await subscribed([
      'dataset.ready',
      'finetune.queued',
    ]);
    await ready();
    await ready();
    await api.must('finetunes.create', key, { name: 'f', dataset_id: dataset.id, options: {} });
    expect(await deliver()).toBe(2);
    const told = received.map(({ headers, body }) =>
      new Webhook(secret).verify(body, headers as Record<string, string>),
    );
    expect(told).toMatchObject([
      { type: 'dataset.ready', data: { id: dataset.id, name: 'cups', status: 'ready' } },
      { type: 'finetune.queued', data: { name: 'f' } },
    ]);
    expect(() =>
      new Webhook(secret).verify(`${received[0]?.body ?? ''} `, received[0]?.headers as never),
    ).toThrow();
    const listed = await deliveries();
    expect(listed).toMatchObject([
      { status: 'delivered', attempts: 1, answer_status: 200 },
      { status: 'delivered', event: 'dataset.ready' },
    ]);
    expect(listed.map(({ id }) => id).sort()).toEqual(
      received.map(({ headers }) => headers['webhook-id']).sort(),
    );
    expect(await deliver()).toBe(0);
  });

  it('is told again, later each time, and given up in the end; a replay has the same id', async () => {
    const { key, ready, deliveries } = await subscribed(['dataset.ready']);
    await ready();
    answers = [{ status: 500 }, { status: 302, location: `${url}/elsewhere` }];
    expect(await deliver()).toBe(1);
    // Not due yet.
    expect(await deliver()).toBe(0);
    const [waits] = await admin<{ s: number }[]>`
      select extract(epoch from run_at - now())::float8 as s from jobs
      where kind = 'webhook' and status = 'queued'`;
    expect(waits?.s).toBeGreaterThan(RETRY_S[0] - 3);
    await makeDue();
    await deliver();
    // A redirect is an answer like others and is not followed.
    expect(received).toHaveLength(2);
    const [waiting] = await deliveries();
    expect(waiting).toMatchObject({ status: 'pending', attempts: 2, answer_status: 302 });
    const early = await api.call('webhooks.replay', key, { id: waiting?.id ?? '' });
    expect(early.problem?.code).toBe('conflict');
    answers = Array.from({ length: 20 }, () => ({ status: 503 }));
    for (let i = 0; i < 12; i++) {
      await makeDue();
      await deliver();
    }
    expect(received).toHaveLength(RETRY_S.length + 1);
    expect((await deliveries())[0]).toMatchObject({ status: 'failed', answer_status: 503 });
    answers = [];
    await api.must('webhooks.replay', key, { id: waiting?.id ?? '' });
    expect(await deliver()).toBe(1);
    expect((await deliveries())[0]).toMatchObject({ status: 'delivered', attempts: 1 });
    expect(new Set(received.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  });

  it('carries both signatures while a rotation overlaps, and one afterwards', async () => {
    const { key, webhook, secret, ready } = await subscribed(['dataset.ready']);
    const next = await api.must('webhooks.rotate', key, { id: webhook.id, overlap_s: 60 });
    await ready();
    await deliver();
    const [first] = received;
    for (const each of [secret, next.secret]) {
      new Webhook(each).verify(first?.body ?? '', first?.headers as Record<string, string>);
    }
    const { items } = await api.must('webhooks.deliveries', key, { id: webhook.id });
    await api.must('webhooks.replay', key, { id: items[0]?.id ?? '' });
    await deliver({ clock: () => new Date(Date.now() + 61_000) });
    expect(String(received[1]?.headers['webhook-signature']).split(' ')).toHaveLength(1);
  });

  it('is told nothing when it is stopped, deleted or gone', async () => {
    const { key, webhook, ready, deliveries } = await subscribed(['dataset.ready']);
    answers = [{ status: 410 }];
    await ready();
    await deliver();
    expect((await deliveries())[0]).toMatchObject({ status: 'failed', answer_status: 410 });
    expect(await api.must('webhooks.get', key, { id: webhook.id })).toMatchObject({
      enabled: false,
    });
    const other = await subscribed(['dataset.ready']);
    await other.ready();
    await api.must('webhooks.delete', other.key, { id: other.webhook.id });
    received = [];
    await deliver();
    expect(received).toEqual([]);
    const refused = await api.call('webhooks.create', key, {
      url: 'http://example.com/hook',
      events: ['dataset.ready'],
    });
    expect(refused.problem).toMatchObject({ code: 'invalid_request', field: 'url' });
  });

  it('is not reached inside of the network, whatever its name resolves to', async () => {
    const { ready, deliveries } = await subscribed(['dataset.ready']);
    await ready();
    await deliver({ allowLoopback: false });
    expect(received).toEqual([]);
    expect((await deliveries())[0]).toMatchObject({ status: 'pending', answer_status: null });
    const post = (resolve: () => Promise<string[]>, address = 'https://receiver.example/hook') =>
      postSafely({
        url: address,
        body: '{}',
        headers: {},
        timeoutMs: 500,
        allowLoopback: false,
        resolve,
      });
    const inside = [
      '10.1.2.3',
      '169.254.169.254',
      '127.0.0.1',
      '::1',
      '::ffff:10.0.0.1',
      'fd00::1',
    ];
    for (const address of inside) {
      await expect(post(() => Promise.resolve(['93.184.216.34', address]))).rejects.toThrow(
        'not public',
      );
    }
    const never = () => Promise.reject(new Error('is not asked'));
    for (const literal of [
      'https://127.0.0.1/',
      'https://[::1]/',
      'https://0x7f.1/',
      'https://2130706433/',
    ]) {
      await expect(post(never, literal)).rejects.toThrow('not public');
    }
    await expect(post(never, url)).rejects.toThrow('not https');
  });

  it('goes to the address that was looked at, under the name that was given', async () => {
    let asked = 0;
    const { port } = receiver.address() as AddressInfo;
    const { status } = await postSafely({
      url: `http://receiver.invalid:${port}/hook`,
      body: '{}',
      headers: {},
      timeoutMs: 2_000,
      allowLoopback: true,
      resolve: () => {
        asked += 1;
        return Promise.resolve(['127.0.0.1']);
      },
    });
    expect([status, asked]).toEqual([200, 1]);
    expect(received[0]?.headers.host).toBe(`receiver.invalid:${port}`);
  });
});

it.each([
  ['8.8.8.8', true],
  ['2606:4700::1111', true],
  ['192.168.0.1', false],
  ['172.16.0.1', false],
  ['100.64.0.1', false],
  ['0.0.0.0', false],
  ['224.0.0.1', false],
  ['255.255.255.255', false],
  ['fe80::1', false],
  ['::', false],
  ['64:ff9b::a00:1', false],
  ['2002:a00:1::', false],
  ['::ffff:127.0.0.1', false],
])('an address %s is public: %s', (address, isPublic) => {
  expect(isAllowed(address, false)).toBe(isPublic);
});
