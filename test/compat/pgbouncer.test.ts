import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  appendEvents,
  claimJob,
  closeUsageWindows,
  connect,
  eq,
  finetunes,
  heartbeat,
  jobs,
  Queue,
  settle,
  withTenant,
  type ClaimedJob,
  type Db,
} from '@armature/db';
import { routes, type RouteInput, type RouteName, type RouteOutput } from '@armature/sdk/contract';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apiEnvironment, freePort, startApiProcess } from '../support/api-process.ts';
import type { NodeProcess } from '../support/node-process.ts';
import { PLATFORM_KEY, requestFor } from '../support/api.ts';
import { hasPgBouncer, startPgBouncer, type PgBouncer } from '../support/pgbouncer.ts';
import { signUp } from '../support/people.ts';
import { startTestPostgres, type TestDatabase, type TestPostgres } from '../support/postgres.ts';
import { armSpec, fileOf } from '../support/robots.ts';
import { startSmtpReceiver, type SmtpReceiver } from '../support/smtp.ts';
import { addPolicyVersion, addServeWorker, addUsage, markReady } from '../support/rows.ts';

const isHere = await hasPgBouncer();
if (!isHere) {
  const line = 'pgbouncer is not installed, the suite through a pooler is skipped';
  if (process.env['ARMATURE_REQUIRE_COMPAT'] === '1') throw new Error(line);
  process.stderr.write(`${line}\n`);
}

/** Connections to the server for each role: fewer than any client's pool, so that all are shared. */
const POOL = 2;
const CLIENTS = 8;

describe.skipIf(!isHere)('through PgBouncer in transaction mode', () => {
  let server: TestPostgres;
  let database: TestDatabase;
  let pooler: PgBouncer;
  let smtp: SmtpReceiver;
  let worker: Db;
  let api: NodeProcess;
  let url: string;
  let scratch: string;
  beforeAll(async () => {
    scratch = await mkdtemp(path.join(tmpdir(), 'armature-pooled-'));
    server = await startTestPostgres();
    database = await server.database();
    pooler = await startPgBouncer([database.appUrl, database.workerUrl], POOL);
    worker = connect(pooler.through(database.workerUrl), { max: CLIENTS, name: 'pooled-worker' });
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    const environment = apiEnvironment({
      databaseUrl: pooler.through(database.appUrl),
      storeRoot: scratch,
      publicUrl: url,
    });
    smtp = await startSmtpReceiver();
    const mail = { MAIL_KIND: 'smtp', SMTP_URL: smtp.url, MAIL_FROM: 'no-reply@example.com' };
    api = await startApiProcess({ ...environment, ...mail, DATABASE_POOL: String(CLIENTS) }, port);
  });
  afterAll(async () => {
    await api.stop();
    await smtp.stop();
    await worker.close();
    await pooler.stop();
    await server.stop();
    await rm(scratch, { recursive: true, force: true });
  });

  async function must<N extends RouteName>(
    name: N,
    key: string,
    input: RouteInput<N>,
    headers: Record<string, string> = {},
  ): Promise<RouteOutput<N>> {
    const [to, request] = requestFor(url, name, key, input);
    const answer = await fetch(to, {
      ...request,
      headers: { ...(request.headers as Record<string, string>), ...headers },
    });
    const body: unknown = await answer.json();
    if (!answer.ok) throw new Error(`${name}: ${JSON.stringify(body)}`);
    return routes[name].output.parse(body) as RouteOutput<N>;
  }

  async function newTenant(name: string): Promise<{ id: string; key: string }> {
    const made = await must('tenants.create', PLATFORM_KEY, { name });
    return { id: made.tenant.id, key: made.secret };
  }

  async function queuedFinetune(tenant: { id: string; key: string }): Promise<string> {
    const { id: embodiment } = await must('embodiments.create', tenant.key, { spec: armSpec });
    const bytes = Buffer.from('the bytes');
    const { dataset, parts } = await must('datasets.create', tenant.key, {
      name: 'd',
      embodiment_id: embodiment,
      files: [fileOf('a.bin', bytes)],
    });
    const [part] = parts;
    const put = { method: 'PUT', headers: part?.headers ?? {}, body: bytes };
    expect((await fetch(part?.url ?? '', put)).status).toBe(200);
    await must('datasets.complete', tenant.key, { id: dataset.id });
    await markReady(worker, tenant.id, dataset.id);
    const input = { name: 'f', dataset_id: dataset.id, options: {} };
    return (await must('finetunes.create', tenant.key, input)).id;
  }

  it('signs people in', async () => {
    const people = await Promise.all(
      ['ann', 'bob', 'cara'].map((name) => signUp(url, smtp, `${name}@example.com`)),
    );
    const asked = await Promise.all(people.map((one) => one.json('GET', '/v1/account')));
    expect(asked.map(({ body }) => body)).toMatchObject(
      ['ann', 'bob', 'cara'].map((name) => ({ person: { email: `${name}@example.com` } })),
    );
  });

  it('shares connections among tenants without mixing them', async () => {
    const tenants = await Promise.all(
      Array.from({ length: 6 }, (_, n) => newTenant(`tenant ${n}`)),
    );
    const made = await Promise.all(
      tenants.map(async ({ key }, n) => {
        const spec = { ...armSpec, name: `arm ${n}` };
        const ids: string[] = [];
        for (let i = 0; i < 3; i += 1) {
          ids.push((await must('embodiments.create', key, { spec })).id);
          const { items } = await must('embodiments.list', key, {});
          expect(items.map(({ id }) => id).sort()).toEqual([...ids].sort());
        }
        return ids;
      }),
    );
    expect(new Set(made.flat()).size).toBe(18);
    const admin = postgres(database.adminUrl, { max: 1 });
    const [row] = await admin<{ count: number }[]>`
      select count(*)::int from pg_stat_activity
      where usename = 'armature_app' and application_name <> 'test-app'`;
    await admin.end();
    expect(row?.count).toBeGreaterThan(0);
    expect(row?.count).toBeLessThanOrEqual(POOL);
  });

  it('carries keys, idempotency, limits and the audit log', async () => {
    const { key } = await newTenant('keys');
    const input = { name: 'k', scopes: ['read' as const] };
    const once = { 'idempotency-key': 'pooled-request-1' };
    const first = await must('keys.create', key, input, once);
    expect(await must('keys.create', key, input, once)).toEqual(first);
    expect((await must('keys.list', key, {})).items).toHaveLength(2);
    await must('keys.revoke', key, { id: first.key.id });
    const audit = await must('audit.list', key, { subject: first.key.id });
    expect(audit.items.map(({ verb }) => verb)).toEqual(['keys.revoke', 'keys.create']);
  });

  it('claims each fine-tune once, keeps its lease and ends it', async () => {
    const tenants = [await newTenant('one'), await newTenant('another')];
    const queued: string[] = [];
    for (const tenant of tenants) {
      queued.push(await queuedFinetune(tenant), await queuedFinetune(tenant));
    }
    const claim = (n: number) =>
      claimJob(worker, { kind: 'finetune', owner: `worker ${n}`, leaseMs: 60_000 });
    const claimed = await Promise.all(Array.from({ length: CLIENTS }, (_, n) => claim(n)));
    const held = claimed.filter((job): job is ClaimedJob => job !== null);
    expect(held.map(({ subjectId }) => subjectId).sort()).toEqual([...queued].sort());
    expect(await Promise.all(held.map((job) => heartbeat(worker, job)))).toEqual(
      new Array(4).fill('ok'),
    );
    for (const job of held) {
      await withTenant(worker, job.tenantId, async (tx) => {
        // The policies alone keep the others' rows away.
        expect(await tx.select().from(jobs)).toHaveLength(4);
        for (const status of ['running', 'evaluating', 'packaging', 'succeeded'] as const) {
          await tx.update(finetunes).set({ status }).where(eq(finetunes.id, job.subjectId));
        }
        await appendEvents(tx, job.subjectId, [{ kind: 'message', message: 'done' }]);
        await settle(tx, job, { status: 'succeeded' });
      });
      expect(await heartbeat(worker, job)).toBe('lost');
    }
    for (const { key } of tenants) {
      const { items } = await must('finetunes.list', key, {});
      expect(items.map(({ status }) => status)).toEqual(['succeeded', 'succeeded']);
    }
  });

  it('carries queued work once, whoever takes it, and looks after it', async () => {
    const { id: tenant, key } = await newTenant('told');
    const { webhook } = await must('webhooks.create', key, {
      url: 'https://example.com/hook',
      events: ['dataset.ready'],
    });
    const made = await Promise.all(
      Array.from({ length: 40 }, () => must('webhooks.test', key, { id: webhook.id })),
    );
    const failures: unknown[] = [];
    const queue = await Queue.open(worker, { onError: (error) => failures.push(error) });
    const taken: string[] = [];
    const lane = async (): Promise<void> => {
      for (
        let work = await queue.take('webhook');
        work !== null;
        work = await queue.take('webhook')
      ) {
        const one = work;
        taken.push(one.data.delivery_id);
        await withTenant(worker, tenant, (tx) => queue.complete(one, tx));
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, lane));
    expect(taken.sort()).toEqual(made.map(({ id }) => id).sort());
    await queue.supervise();
    await queue.close();
    expect(failures).toEqual([]);
  });

  it('deploys a version, opens a session and counts its usage', async () => {
    const { id: tenant, key } = await newTenant('served');
    await addServeWorker(worker);
    const { id: embodiment } = await must('embodiments.create', key, { spec: armSpec });
    const version = await addPolicyVersion(worker, tenant, embodiment);
    await must('policies.deploy', key, { id: version });
    const { session } = await must('sessions.create', key, {
      robot: 'r1',
      embodiment_id: embodiment,
    });
    const at = new Date(Date.now() - 3_600_000);
    // Written by two at once, each row counts once.
    await Promise.all([1, 2].map(() => addUsage(worker, tenant, session.id, 20, at)));
    await withTenant(worker, tenant, (tx) => closeUsageWindows(tx, tenant, new Date()));
    const usage = await must('usage.get', key, {});
    expect(usage.totals).toMatchObject({ chunks: 20, actions: 320 });
  });
});
