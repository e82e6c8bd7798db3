import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { baseWeightsUrl, loadBase } from '@armature/policy/checkpoint';
import { ArmatureError, type SessionClaims } from '@armature/sdk/contract';
import { openStore } from '@armature/storage';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { FakeApi } from '../../sdk/src/testing/fake-api.ts';
import { freePort } from '../../test/support/api-process.ts';
import { startNodeProcess, type NodeProcess } from '../../test/support/node-process.ts';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../../test/support/postgres.ts';
import { makePolicy, putPolicy } from '../../test/support/served-policy.ts';
import { recordSession } from '../../test/support/session-rows.ts';
import { SETTINGS } from './config.ts';
import { startIssuer, type Issuer } from './gateway/testing/issuer.ts';
import { Ledger } from './ledger/index.ts';
import { MemorySink, silent, usage } from './ledger/testing/entries.ts';
import { armSpec, claimsFor, jpegOf, observation, TestRobot } from './testing/robots.ts';

const STORE_SECRET = 'only-for-tests-and-long-enough-so';
const NOWHERE = 'postgres://armature_worker@127.0.0.1:1/none';
const tellThreads = {
  NODE_OPTIONS: `--import=${new URL('./testing/tell-threads.mjs', import.meta.url).href}`,
};

/** A worker's process with what it was told. */
interface Told {
  readonly process: NodeProcess;
  readonly port: number;
  readonly metricsPort: number;
  readonly spool: string;
}

let server: TestPostgres;
let database: TestDatabase;
let admin: postgres.Sql;
let issuer: Issuer;
let api: FakeApi;
let dir: string;
let jpeg: Uint8Array<ArrayBuffer>;
let policies: readonly [SessionClaims['policy'], SessionClaims['policy']];
/** A worker that was told everything that can be told one. */
let told: Told;
/** One without a database, whose spool held more than it may when it began, and which is to be silent. */
let away: Told;
/** One that may have less memory than it takes, so that it goes after a while. */
let large: Told;
const started: NodeProcess[] = [];
let sessions = 0;

beforeAll(async () => {
  server = await startTestPostgres();
  database = await server.database();
  admin = postgres(database.adminUrl, { max: 1 });
  issuer = await startIssuer();
  api = await FakeApi.start({
    'sessions.create': () => {
      throw new ArmatureError('quota_exceeded', 'too many robots');
    },
  });
  dir = mkdtempSync(path.join(tmpdir(), 'armature-settings-'));
  jpeg = await jpegOf();
  const root = `${dir}/store`;
  const store = openStore({ kind: 'disk', root, publicUrl: 'http://x', secret: STORE_SECRET });
  const base = loadBase(readFileSync(baseWeightsUrl('nano')));
  const put = (seed: number) =>
    putPolicy((key, bytes) => store.put(key, bytes), 'ten_s', makePolicy(base, armSpec(), seed));
  policies = [await put(5), await put(6)];
  told = await start('told', {
    ...tellThreads,
    HOST: '0.0.0.0',
    METRICS_HOST: '127.0.0.3',
    PUBLIC_URL: 'wss://robots.example',
    WORKER_ID: 'serve-told',
    DATABASE_URL: database.workerUrl,
    JWKS_CACHE_S: '1',
    OPENPI_API_URL: api.url,
    OPENPI_EMBODIMENT: 'emb_told',
    OPENPI_KEY: 'arm_told',
    ENGINE_THREADS: '3',
    REASON_THREADS: '2',
    IMAGE_THREADS: '3',
    GUIDANCE_PULLED_BACK: 'on',
    POLICY_SLOTS: '1',
    MAX_BATCH: '3',
    TENANT_MAX_IN_FLIGHT: '2',
    MAX_SESSIONS: '9',
  });
  large = await start('large', { MEMORY_BUDGET_MB: '256' });
  await fill(`${dir}/away`);
  away = await start('away', { JWKS_COOLDOWN_S: '0.1', SPOOL_MAX_MB: '1', LOG_LEVEL: 'silent' });
});
afterAll(async () => {
  await Promise.all(started.map((one) => one.kill()));
  await admin.end();
  await server.stop();
  await issuer.close();
  await api.stop();
  rmSync(dir, { recursive: true });
});

/** Starts a process with as little as it needs and these settings. */
async function start(name: string, settings: Readonly<Record<string, string>>): Promise<Told> {
  const [port, metricsPort, spool] = [await freePort(), await freePort(), `${dir}/${name}`];
  const process = await startNodeProcess('workers/serve/main.ts', {
    PORT: String(port),
    METRICS_PORT: String(metricsPort),
    PUBLIC_URL: `ws://127.0.0.1:${port}`,
    WORKER_ID: 'serve-test',
    DATABASE_URL: NOWHERE,
    JWKS_URL: issuer.jwksUrl,
    SPOOL_DIR: spool,
    STORE_KIND: 'disk',
    STORE_ROOT: `${dir}/store`,
    STORE_PUBLIC_URL: 'http://x',
    STORE_SECRET,
    ENGINE_THREADS: '1',
    ...settings,
  });
  started.push(process);
  return { process, port, metricsPort, spool };
}

/** Leaves records of more than a MiB in a spool. */
async function fill(spool: string): Promise<void> {
  const sink = new MemorySink();
  sink.down = true;
  const ledger = new Ledger({ dir: spool, sink, log: silent });
  await ledger.append(Array.from({ length: 6_000 }, (_, n) => usage(n)));
  await ledger.close();
}

async function tokenAt({ port }: Told, over: Partial<SessionClaims> = {}): Promise<string> {
  const sub = `ses_set${++sessions}`;
  const [policy] = policies;
  const worker = port === told.port ? 'serve-told' : 'serve-test';
  const claims = claimsFor({ sub, worker, tenant: 'ten_s', policy, reasoning: { when: 'off' } });
  const version = claims.policy.version_id;
  await recordSession(admin, { tenant: 'ten_s', session: sub, version });
  return issuer.sign({ ...claims, ...over });
}

async function robotAt(at: Told, over: Partial<SessionClaims> = {}): Promise<TestRobot> {
  return TestRobot.open(at.port, await tokenAt(at, over));
}

async function welcomed(at: Told, over: Partial<SessionClaims> = {}) {
  const robot = await robotAt(at, over);
  return { robot, welcome: await robot.next('welcome', 60_000) };
}

/** Asks so many times, each time when it has the answer to the one before. */
async function drive(robot: TestRobot, times: number): Promise<void> {
  const from = robot.frames.length;
  for (let seq = from; seq < from + times; seq++) {
    robot.send(observation(seq, jpeg));
    expect(await robot.answer(seq, 30_000)).toMatchObject({ type: 'chunk' });
  }
}

async function leave(...robots: TestRobot[]): Promise<void> {
  for (const robot of robots) robot.send({ type: 'bye' });
  for (const robot of robots) await robot.closed;
}

/** A series of the worker's metrics. */
async function metric({ metricsPort }: Told, series: string): Promise<number> {
  const host = metricsPort === told.metricsPort ? '127.0.0.3' : '127.0.0.1';
  const text = await (await fetch(`http://${host}:${metricsPort}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  return Number(line?.slice(series.length) ?? 0);
}

/** Lines of a worker's log that are JSON with this field. */
function logged(field: string): Record<string, unknown>[] {
  const lines = told.process.log().split('\n').slice(0, -1);
  const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  return parsed.filter((line) => field in line);
}

const engineThreads = (name: string) => logged('thread').filter(({ thread }) => thread === name);

/** What an openpi client that shows nothing has the worker ask the control plane for. */
async function askedForOpenpi() {
  const before = api.calls.length;
  const client = new WebSocket(`ws://127.0.0.1:${told.port}/`);
  await new Promise((resolve) => client.once('error', resolve));
  expect(api.calls).toHaveLength(before + 1);
  return api.calls.at(-1);
}

async function workersOnRecord() {
  return admin<{ id: string; url: string }[]>`select id, url from serve_workers`;
}

/** How each setting shows in what the process does. */
const REACHES: Readonly<Record<string, () => Promise<void>>> = {
  HOST: async () => {
    expect((await fetch(`http://127.0.0.2:${told.port}/healthz`)).status).toBe(200);
    await expect(fetch(`http://127.0.0.2:${away.port}/healthz`)).rejects.toThrow('fetch failed');
  },
  PORT: async () => {
    expect((await fetch(`http://127.0.0.1:${told.port}/healthz`)).status).toBe(200);
  },
  METRICS_HOST: async () => {
    const other = fetch(`http://127.0.0.1:${told.metricsPort}/metrics`);
    await expect(other).rejects.toThrow('fetch failed');
    expect(await metric(told, 'worker_ready')).toBe(1);
  },
  METRICS_PORT: async () => {
    expect(await metric(told, 'worker_ready')).toBe(1);
  },
  PUBLIC_URL: async () => {
    expect(await workersOnRecord()).toMatchObject([{ url: 'wss://robots.example/v1/robot' }]);
  },
  WORKER_ID: async () => {
    expect(await workersOnRecord()).toMatchObject([{ id: 'serve-told' }]);
    const another = robotAt(told, { worker: 'serve-test' });
    await expect(another).rejects.toMatchObject({ code: 'forbidden' });
  },
  DATABASE_URL: async () => {
    const { robot } = await welcomed(told);
    await drive(robot, 2);
    await leave(robot);
    const rows =
      await admin`select id from usage_events where session_id = ${`ses_set${sessions}`}`;
    expect(rows).toHaveLength(2);
    expect(await metric(told, 'ledger_flushed_total')).toBeGreaterThanOrEqual(2);
  },
  JWKS_URL: async () => {
    await leave((await welcomed(told)).robot);
  },
  JWKS_CACHE_S: async () => {
    await leave((await welcomed(told)).robot);
    const before = issuer.counters.fetches;
    await sleep(1_100);
    await leave((await welcomed(told)).robot);
    expect(issuer.counters.fetches).toBeGreaterThan(before);
  },
  JWKS_COOLDOWN_S: async () => {
    const unknown = async () => {
      const token = await issuer.sign(claimsFor(), { kid: 'key-of-another' });
      await expect(TestRobot.open(away.port, token)).rejects.toMatchObject({
        code: 'invalid_token',
      });
    };
    await unknown();
    const before = issuer.counters.fetches;
    await sleep(150);
    await unknown();
    expect(issuer.counters.fetches).toBeGreaterThan(before);
  },
  OPENPI_API_URL: async () => {
    expect(await askedForOpenpi()).toMatchObject({ name: 'sessions.create' });
  },
  OPENPI_EMBODIMENT: async () => {
    expect(await askedForOpenpi()).toMatchObject({ input: { embodiment_id: 'emb_told' } });
  },
  OPENPI_KEY: async () => {
    expect(await askedForOpenpi()).toMatchObject({ authorization: 'Bearer arm_told' });
  },
  SPOOL_DIR: async () => {
    expect(readdirSync(told.spool).length).toBeGreaterThan(0);
  },
  SPOOL_MAX_MB: async () => {
    const robot = await robotAt(away);
    expect((await robot.next('error', 30_000)).message).toContain('wait for the database');
  },
  ENGINE_THREADS: async () => {
    expect(engineThreads('engine')).toMatchObject([{ threads: 3 }]);
  },
  REASON_THREADS: async () => {
    expect(engineThreads('reason')).toMatchObject([{ threads: 2 }]);
  },
  GUIDANCE_PULLED_BACK: async () => {
    const { robot, welcome } = await welcomed(told);
    expect(welcome.chunking).toContain('pulled_back');
    await leave(robot);
  },
  EXECUTION_PROVIDER: async () => {
    expect(engineThreads('engine')).toMatchObject([{ executionProvider: 'cpu' }]);
    // Which ends before it is ready where there is none.
    const log = await start('provider', { EXECUTION_PROVIDER: 'cuda', ...tellThreads })
      .then(({ process }) => process.log())
      .catch(String);
    expect(log).toContain('"executionProvider":"cuda"');
  },
  IMAGE_THREADS: async () => {
    const names = logged('thread').map(({ thread }) => String(thread));
    expect(names.filter((name) => name.startsWith('images-'))).toHaveLength(3);
  },
  POLICY_SLOTS: async () => {
    const { robot } = await welcomed(told);
    const [, policy] = policies;
    const second = await robotAt(told, { policy });
    expect(await second.next('error', 30_000)).toMatchObject({ field: 'policy' });
    await leave(robot);
  },
  MAX_BATCH: async () => {
    const fleet = await Promise.all(Array.from({ length: 4 }, () => welcomed(told)));
    const sizes = () => new Set(logged('rows').map(({ rows }) => rows));
    await expect.poll(sizes, { timeout: 60_000 }).toEqual(new Set([1, 2, 3]));
    await leave(...fleet.map(({ robot }) => robot));
  },
  TENANT_MAX_IN_FLIGHT: async () => {
    const fleet = await Promise.all(Array.from({ length: 4 }, () => welcomed(told)));
    await expect.poll(() => logged('rows').some(({ rows }) => rows === 3)).toBe(true);
    await Promise.all(fleet.map(({ robot }) => drive(robot, 20)));
    await leave(...fleet.map(({ robot }) => robot));
    const runs = await metric(told, 'batch_rows_count');
    expect(await metric(told, 'batch_rows_bucket{le="2"}')).toBe(runs);
    expect(await metric(told, 'batch_rows_bucket{le="1"}')).toBeLessThan(runs);
  },
  ADMISSION_FILL: async () => {
    const full = await start('full', { ADMISSION_FILL: '0.001' });
    const reasoned: Partial<SessionClaims> = { reasoning: { when: 'every_chunk' } };
    const fleet = await Promise.all(Array.from({ length: 6 }, () => welcomed(full, reasoned)));
    // More than the engines can take, whatever answers come.
    let seq = 0;
    const flood = setInterval(() => {
      seq += 1;
      for (const { robot } of fleet) robot.send(observation(seq, jpeg));
    }, 25);
    const refusal = async () => {
      const other = await robotAt(full);
      const said = await other.next('error', 500).catch(() => undefined);
      other.close();
      return said?.message;
    };
    // The engines have to have been busy for a while.
    await expect.poll(refusal, { timeout: 90_000 }).toContain('cannot hold the robot');
    clearInterval(flood);
    await full.process.kill();
  },
  MEMORY_BUDGET_MB: async () => {
    // It goes although its database does not answer.
    expect(await large.process.ended).toBe(0);
  },
  MAX_SESSIONS: async () => {
    expect(await metric(told, 'allocations{state="ready"}')).toBe(9);
  },
  DRAIN_GRACE_MS: async () => {
    const patient = await start('patient', {
      DRAIN_GRACE_MS: '60000',
      DATABASE_URL: database.workerUrl,
    });
    const { robot } = await welcomed(patient);
    const ended = patient.process.stop();
    await robot.next('drain');
    // Longer than it waits unless told.
    await sleep(2_500);
    await drive(robot, 1);
    await leave(robot);
    expect(await ended).toBe(0);
  },
  LOG_LEVEL: async () => {
    expect(logged('level').length).toBeGreaterThan(0);
    expect(away.process.log()).toBe('');
  },
};

describe('the settings of a serve worker', () => {
  it('are all tried here', () => {
    expect(Object.keys(REACHES).sort()).toEqual([...SETTINGS].sort());
  });

  it.each(Object.entries(REACHES))('%s reaches what it governs', async (_, reaches) => {
    await reaches();
  });
});
