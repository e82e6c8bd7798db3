import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { Queue, Sealing, type QueuedWork } from '@armature/db';
import type { RouteInput } from '@armature/sdk/contract';
import { pino } from 'pino';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import postgres, { type Sql } from 'postgres';
import { SEALING_KEYS, startTestApi, type TestApi } from '../../test/support/api.ts';
import { armSpec, fileOf } from '../../test/support/robots.ts';
import { markDataset } from '../../test/support/rows.ts';
import { deliver, type DeliveryServices } from './deliver.ts';
import { isAllowed, postSafely, resolveHost } from './post.ts';

let api: TestApi;
let admin: Sql;
let queue: Queue;
let receiver: Server;
let url: string;
let received: { headers: IncomingHttpHeaders; body: string }[];
/** What the receiver answers, and where it sends on to. */
let answers: { status: number; location?: string }[];
const failures: unknown[] = [];
/** The first and the fifteen that the queue has it tried again. */
const TRIES = 16;

beforeAll(async () => {
  api = await startTestApi();
  admin = postgres(api.db.adminUrl, { max: 1 });
  queue = await Queue.open(api.db.worker, { onError: (error) => failures.push(error) });
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
  await queue.close();
  await admin.end();
  await api.stop();
  expect(failures).toEqual([]);
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

/** Sends every message that is due; returns how many. */
async function deliverDue(over: Partial<DeliveryServices> = {}): Promise<number> {
  for (let count = 0; ; count++) {
    const work = await queue.take('webhook');
    if (work === null) return count;
    await deliverOne(work, over);
  }
}
const deliverOne = (work: QueuedWork<'webhook'>, over: Partial<DeliveryServices> = {}) =>
  deliver(work, {
    db: api.db.worker,
    queue,
    sealing: Sealing.of(SEALING_KEYS),
    log: pino({ level: 'silent' }),
    clock: () => new Date(),
    timeoutMs: 2_000,
    allowLoopback: true,
    ...over,
  });
const makeDue = () =>
  admin`update pgboss.job set start_after = now() - interval '1 second' where name = 'webhook' and state < 'active'`;

describe('a webhook', () => {
  it('is told once of a state that it asked for, signed as Standard Webhooks verifies', async () => {
    const { key, secret, dataset, ready, deliveries } = await subscribed([
      'dataset.ready',
      'finetune.queued',
    ]);
    await ready();
    await ready();
    await api.must('finetunes.create', key, { name: 'f', dataset_id: dataset.id, options: {} });
    expect(await deliverDue()).toBe(2);
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
    expect(await deliverDue()).toBe(0);
  });

  it('is told again, later each time, and given up in the end; a replay has the same id', async () => {
    const { key, ready, deliveries } = await subscribed(['dataset.ready']);
    await ready();
    answers = [{ status: 500 }, { status: 302, location: `${url}/elsewhere` }];
    expect(await deliverDue()).toBe(1);
    // Not due yet.
    expect(await deliverDue()).toBe(0);
    const [waits] = await admin<{ s: number }[]>`
      select extract(epoch from start_after - now())::float8 as s from pgboss.job
      where name = 'webhook' and state = 'retry'`;
    expect(waits?.s).toBeGreaterThan(2);
    expect(waits?.s).toBeLessThan(10.1);
    await makeDue();
    await deliverDue();
    // A redirect is an answer like others and is not followed.
    expect(received).toHaveLength(2);
    const [waiting] = await deliveries();
    expect(waiting).toMatchObject({ status: 'pending', attempts: 2, answer_status: 302 });
    const early = await api.call('webhooks.replay', key, { id: waiting?.id ?? '' });
    expect(early.problem?.code).toBe('conflict');
    answers = Array.from({ length: 20 }, () => ({ status: 503 }));
    for (let i = 0; i < 20; i++) {
      await makeDue();
      await deliverDue();
    }
    expect(received).toHaveLength(TRIES);
    expect((await deliveries())[0]).toMatchObject({ status: 'failed', answer_status: 503 });
    answers = [];
    await api.must('webhooks.replay', key, { id: waiting?.id ?? '' });
    expect(await deliverDue()).toBe(1);
    expect((await deliveries())[0]).toMatchObject({ status: 'delivered', attempts: 1 });
    expect(new Set(received.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  });

  it('carries both signatures while a rotation overlaps, and one afterwards', async () => {
    const { key, webhook, secret, ready } = await subscribed(['dataset.ready']);
    const next = await api.must('webhooks.rotate', key, { id: webhook.id, overlap_s: 60 });
    await ready();
    await deliverDue();
    const [first] = received;
    for (const each of [secret, next.secret]) {
      new Webhook(each).verify(first?.body ?? '', first?.headers as Record<string, string>);
    }
    const { items } = await api.must('webhooks.deliveries', key, { id: webhook.id });
    await api.must('webhooks.replay', key, { id: items[0]?.id ?? '' });
    await deliverDue({ clock: () => new Date(Date.now() + 61_000) });
    expect(String(received[1]?.headers['webhook-signature']).split(' ')).toHaveLength(1);
  });

  it('is told on request that it is told', async () => {
    const { key, webhook, secret, deliveries } = await subscribed(['dataset.ready']);
    const made = await api.must('webhooks.test', key, { id: webhook.id });
    expect(made).toMatchObject({ event: 'webhook.test', status: 'pending' });
    expect(await deliverDue()).toBe(1);
    const [first] = received;
    expect(
      new Webhook(secret).verify(first?.body ?? '', first?.headers as Record<string, string>),
    ).toMatchObject({ type: 'webhook.test', data: { id: webhook.id } });
    expect(await deliveries()).toMatchObject([{ id: made.id, status: 'delivered' }]);
  });

  it('is told nothing when it is stopped, deleted or gone', async () => {
    const { key, webhook, ready, deliveries } = await subscribed(['dataset.ready']);
    answers = [{ status: 410 }];
    await ready();
    await deliverDue();
    expect((await deliveries())[0]).toMatchObject({ status: 'failed', answer_status: 410 });
    expect(await api.must('webhooks.get', key, { id: webhook.id })).toMatchObject({
      enabled: false,
    });
    const { items: noted } = await api.must('audit.list', key, { subject: webhook.id });
    expect(noted[0]).toMatchObject({
      actor: 'platform',
      verb: 'webhooks.stop',
      request_id: (await deliveries())[0]?.id,
      detail: { answer_status: 410 },
    });
    const other = await subscribed(['dataset.ready']);
    await other.ready();
    await api.must('webhooks.delete', other.key, { id: other.webhook.id });
    received = [];
    await deliverDue();
    expect(received).toEqual([]);
    const refused = await api.call('webhooks.create', key, {
      url: 'http://example.com/hook',
      events: ['dataset.ready'],
    });
    expect(refused.problem).toMatchObject({ code: 'invalid_request', field: 'url' });
  });

  it('is sent by another worker when one is lost, whose answer then counts no more', async () => {
    const { key, webhook, ready, deliveries } = await subscribed(['dataset.ready']);
    const named = url.replace('127.0.0.1', 'localhost');
    await api.must('webhooks.update', key, { id: webhook.id, url: named });
    await ready();
    const lost = await queue.take('webhook');
    if (lost === null) throw new Error('nothing to take');
    expect(await queue.take('webhook')).toBeNull();
    // It hangs at its receiver until another has delivered.
    let release: (addresses: readonly string[]) => void = () => undefined;
    const zombie = deliverOne(lost, {
      resolve: () => new Promise((resolve) => (release = resolve)),
      timeoutMs: 60_000,
    });
    await vi.waitFor(async () => expect((await deliveries())[0]?.attempts).toBe(1), {
      timeout: 20_000,
    });
    expect(await deliverDue()).toBe(0);
    await admin`update pgboss.job set started_on = now() - interval '61 seconds' where id = ${lost.id}`;
    await queue.supervise();
    await makeDue();
    expect(await deliverDue()).toBe(1);
    expect((await deliveries())[0]).toMatchObject({ status: 'delivered', attempts: 2 });
    answers = [{ status: 410 }];
    release(['127.0.0.1']);
    await zombie;
    expect((await deliveries())[0]).toMatchObject({ status: 'delivered', answer_status: 200 });
    expect((await api.must('webhooks.get', key, { id: webhook.id })).enabled).toBe(true);
  });

  it('holds up no other tenant with what waits for its own receiver', async () => {
    const many = await subscribed(['dataset.validating', 'dataset.ready', 'dataset.rejected']);
    for (const status of ['validating', 'rejected', 'validating', 'ready'] as const) {
      await markDataset(api.db.worker, many.tenant, many.dataset.id, status);
    }
    const one = await subscribed(['dataset.ready']);
    await one.ready();
    const order: string[] = [];
    for (
      let work = await queue.take('webhook');
      work !== null;
      work = await queue.take('webhook')
    ) {
      order.push(work.data.tenant_id);
      await deliverOne(work);
    }
    expect(order).toEqual([many.tenant, one.tenant, many.tenant, many.tenant, many.tenant]);
  });

  it('has its secrets sealed in the database, and sends nothing without the key', async () => {
    const { secret, ready, deliveries } = await subscribed(['dataset.ready']);
    const rows = await admin<{ row: string }[]>`
      select webhook_endpoints::text as row from webhook_endpoints
      union all select audit_log::text from audit_log`;
    expect(rows.filter(({ row }) => row.includes(secret.slice('whsec_'.length)))).toEqual([]);
    await ready();
    const other = `other:${Buffer.alloc(32, 9).toString('base64url')}`;
    await deliverDue({ sealing: Sealing.of(other) });
    expect(received).toEqual([]);
    expect((await deliveries())[0]).toMatchObject({
      status: 'pending',
      error: 'the platform could not sign the message',
    });
    await makeDue();
    await deliverDue({ sealing: Sealing.of(`${other},${SEALING_KEYS}`) });
    new Webhook(secret).verify(
      received[0]?.body ?? '',
      received[0]?.headers as Record<string, string>,
    );
  });

  it('is not reached inside of the network, whatever its name resolves to', async () => {
    const { ready, deliveries } = await subscribed(['dataset.ready']);
    await ready();
    await deliverDue({ allowLoopback: false });
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

  it('is not led elsewhere by a name that resolves to another address the second time', async () => {
    const { port } = receiver.address() as AddressInfo;
    let asked = 0;
    const rebinding = () => {
      asked += 1;
      // A public one at first, then the machine itself.
      return Promise.resolve([asked === 1 ? '93.184.216.34' : '127.0.0.1']);
    };
    const attempt = postSafely({
      url: `https://rebinding.example:${port}/hook`,
      body: '{}',
      headers: {},
      timeoutMs: 500,
      allowLoopback: false,
      resolve: rebinding,
    });
    await expect(attempt).rejects.toThrow();
    expect([received, asked]).toEqual([[], 1]);
  });

  it('waits for no receiver that changes to another protocol', async () => {
    const switching = createTcpServer((socket) => {
      socket.once('data', () => {
        socket.write(
          'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
        );
      });
    });
    switching.listen(0, '127.0.0.1');
    await once(switching, 'listening');
    const { port } = switching.address() as AddressInfo;
    const attempt = postSafely({
      url: `http://127.0.0.1:${port}/hook`,
      body: '{}',
      headers: {},
      timeoutMs: 500,
      allowLoopback: true,
    });
    expect(await attempt).toEqual({ status: 101 });
    switching.close();
  });

  it('waits no longer for a name server that does not answer than for a receiver', async () => {
    const silent = createSocket('udp4');
    silent.bind(0, '127.0.0.1');
    await once(silent, 'listening');
    const asked = once(silent, 'message');
    const servers = [`127.0.0.1:${silent.address().port}`];
    const attempt = postSafely({
      url: 'https://receiver.example/hook',
      body: '{}',
      headers: {},
      timeoutMs: 300,
      allowLoopback: false,
      resolve: (host, signal) => resolveHost(host, signal, servers),
    });
    await expect(attempt).rejects.toMatchObject({ name: 'TimeoutError' });
    await asked;
    silent.close();
    const never = AbortSignal.timeout(60_000);
    expect(await resolveHost('localhost', never, servers)).toEqual(['127.0.0.1']);
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
