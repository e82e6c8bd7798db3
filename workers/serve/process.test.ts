import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { baseWeightsUrl, loadBase } from '@armature/policy/checkpoint';
import { Engine } from '@armature/policy/engine';
import { PolicyRuntime } from '@armature/policy/runtime';
import { connectRobot } from '@armature/sdk';
import { Ndarray, type SessionClaims, type SessionGrant } from '@armature/sdk/contract';
import { openStore } from '@armature/storage';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { bundled } from '../../test/support/bundle.ts';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../../test/support/postgres.ts';
import { startIssuer, type Issuer } from './gateway/testing/issuer.ts';
import {
  makePolicy,
  putPolicy,
  tunePolicy,
  type Version,
} from '../../test/support/served-policy.ts';
import { alone, seen } from './testing/alone.ts';
import { armSpec, claimsFor, jpegOf, observation, TestRobot } from './testing/robots.ts';
import { recordSession } from '../../test/support/session-rows.ts';

const SECRET = 'only-for-tests-and-long-enough-so';
const base = loadBase(readFileSync(baseWeightsUrl('nano')));
let server: TestPostgres;
let database: TestDatabase;
let admin: postgres.Sql;
let issuer: Issuer;
let dir: string;
let port: number;
let put: (key: string, bytes: Uint8Array) => Promise<unknown>;
let claims: SessionClaims;
/** What the process serves, in an engine of the test's own. */
let engine: Engine;
let tuned: Version;
let lora: SessionClaims;

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

beforeAll(async () => {
  server = await startTestPostgres();
  database = await server.database();
  admin = postgres(database.adminUrl, { max: 1 });
  issuer = await startIssuer();
  dir = mkdtempSync(path.join(tmpdir(), 'armature-serve-'));
  port = await freePort();
  const store = openStore({
    kind: 'disk',
    root: `${dir}/store`,
    publicUrl: 'http://x',
    secret: SECRET,
  });
  put = (key, bytes) => store.put(key, bytes);
  const policy = await putPolicy(put, 'ten_p', makePolicy(base, armSpec(), 5));
  claims = claimsFor({ sub: 'ses_p', worker: 'serve-1', tenant: 'ten_p', policy });
  await recordSession(admin, { tenant: 'ten_p', session: 'ses_p', version: policy.version_id });
  engine = await Engine.start({ threads: 1, spin: false });
  tuned = await tunePolicy(engine, base, armSpec(), 'lora');
  const pairs = await putPolicy(put, 'ten_l', tuned);
  lora = claimsFor({ sub: 'ses_l', worker: 'serve-1', tenant: 'ten_l', policy: pairs });
  await recordSession(admin, { tenant: 'ten_l', session: 'ses_l', version: pairs.version_id });
});
afterAll(async () => {
  await engine.close();
  await admin.end();
  await server.stop();
  await issuer.close();
  rmSync(dir, { recursive: true });
});

/** Processes that a test that failed would leave behind. */
const running = new Set<ChildProcess>();
afterEach(async () => {
  for (const child of running) {
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  }
});

interface Started {
  readonly id?: string;
  readonly at?: number;
  readonly environment?: Readonly<Record<string, string>>;
  /** A module that is there before the process is. */
  readonly preload?: string;
}

/** Starts the process and waits for its ready line. */
async function start(
  databaseUrl: string,
  { id = 'serve-1', at = port, environment = {}, preload }: Started = {},
): Promise<ChildProcess> {
  const before = preload === undefined ? [] : ['--import', preload];
  const child = spawn(process.execPath, [...before, await bundled('workers/serve/main.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      PORT: String(at),
      PUBLIC_URL: `ws://127.0.0.1:${at}`,
      WORKER_ID: id,
      DATABASE_URL: databaseUrl,
      JWKS_URL: issuer.jwksUrl,
      SPOOL_DIR: `${dir}/spool-${id}`,
      STORE_KIND: 'disk',
      STORE_ROOT: `${dir}/store`,
      STORE_PUBLIC_URL: 'http://x',
      STORE_SECRET: SECRET,
      ENGINE_THREADS: '1',
      IMAGE_THREADS: '1',
      MAX_BATCH: '2',
      DRAIN_GRACE_MS: '500',
      LOG_LEVEL: 'fatal',
      ...environment,
    },
  });
  running.add(child);
  const ended = once(child, 'exit').then(() => {
    running.delete(child);
    return undefined;
  });
  const said = once(child.stdout, 'data').then(([line]) => String(line));
  const line = await Promise.race([said, ended]);
  if (line === undefined) throw new Error('the process ended before it was ready');
  expect(JSON.parse(line)).toEqual({ ready: true, url: `ws://127.0.0.1:${at}` });
  return child;
}

/** Drives a robot for `count` chunks; the ids of what it was sent. */
async function drive(epoch: number, count: number, then?: () => void): Promise<string[]> {
  const jpeg = await jpegOf();
  const robot = await TestRobot.open(port, await issuer.sign({ ...claims, epoch }));
  await robot.next('welcome', 60_000);
  const ids: string[] = [];
  for (let seq = 0; seq < count; seq++) {
    robot.send(observation(seq, jpeg));
    ids.push((await robot.next('chunk', 30_000)).chunk_id);
  }
  then?.();
  if (then === undefined) robot.send({ type: 'bye' });
  await robot.closed;
  return ids;
}

const usageIds = async (session = 'ses_p') =>
  (await admin`select id from usage_events where session_id = ${session}`).map((row) =>
    String(row['id']),
  );

/** Slow enough for a busy machine: a chunk lasts two seconds. */
const slowArm = armSpec({ name: 'slow arm', control_hz: 4 });

/** A session of the slow arm, and what the control plane would grant for its epochs. */
async function moving(
  sub: string,
  url: (epoch: number) => string,
  worker: (epoch: number) => string = () => 'serve-1',
) {
  const policy = makePolicy(base, slowArm, 6);
  const own: SessionClaims = {
    ...claimsFor({ sub, tenant: 'ten_m', policy: await putPolicy(put, 'ten_m', policy) }),
    embodiment: { id: 'emb_m', spec: slowArm },
    reasoning: { when: 'off' },
  };
  const { version_id: version } = own.policy;
  await recordSession(admin, { tenant: 'ten_m', session: sub, version });
  let epoch = 0;
  const next = async (): Promise<SessionGrant> => {
    epoch += 1;
    const at = `${url(epoch)}/v1/robot`;
    return {
      session: {
        id: sub,
        robot: own.robot,
        embodiment_id: own.embodiment.id,
        policy_version_id: version,
        epoch,
        created_at: new Date().toISOString(),
        ended_at: null,
      },
      url: `ws://${at}`,
      announce_url: `http://${url(epoch)}/v1/allocations`,
      token: await issuer.sign({ ...own, worker: worker(epoch), epoch }),
      token_expires_at: new Date(Date.now() + 600_000).toISOString(),
      embodiment: slowArm,
    };
  };
  const metered = async () =>
    (await admin`select id from usage_events where session_id = ${sub}`).map((row) =>
      String(row['id']),
    );
  return { next, metered };
}

/**
 * Runs the SDK's control loop until it has executed so many actions, and notes what it executed of
 * which chunk, and how late that was against the chunk's own plan.
 */
async function run(
  grants: { readonly next: () => Promise<SessionGrant> },
  ticks: number,
  onTick: (tick: number, epoch: number) => void,
  signal = new AbortController().signal,
) {
  const jpeg = await jpegOf();
  const chunks = new Set<string>();
  const epochs: number[] = [];
  const starved: number[] = [];
  let latest = 0;
  const robot = await connectRobot({
    embodiment: slowArm,
    grant: await grants.next(),
    resume: grants.next,
    reconnect: { baseMs: 50, maxMs: 500 },
  });
  const stats = await robot.run({
    observe: () => ({
      images: { front: { jpeg } },
      state: Float32Array.of(0.2, 0.1),
      instruction: 'lift the cup',
    }),
    execute: (_, { chunk, step, tick }) => {
      latest = Math.max(latest, Date.now() - chunk.capturedAt - (step * 1000) / 4);
      chunks.add(chunk.chunkId);
      if (epochs.at(-1) !== chunk.epoch) epochs.push(chunk.epoch);
      onTick(tick, chunk.epoch);
    },
    onStarved: () => starved.push(epochs.at(-1) ?? 0),
    ticks,
    signal,
    maxAgeMs: 3000,
  });
  await robot.close();
  return { stats, chunks, epochs, starved, latest };
}

describe('robots of a process that leaves', () => {
  it('go on at another, which answers before the first is left: no action missing, none stale', async () => {
    const ports = [await freePort(), await freePort()];
    const two = await Promise.all(
      ports.map((at, i) =>
        start(database.workerUrl, {
          id: `serve-m${i}`,
          at,
          environment: { DRAIN_GRACE_MS: '60000' },
        }),
      ),
    );
    const [first, second] = two as [ChildProcess, ChildProcess];
    const grants = await moving(
      'ses_m',
      (epoch) => `127.0.0.1:${String(ports[Math.min(epoch, 2) - 1])}`,
      (epoch) => `serve-m${Math.min(epoch, 2) - 1}`,
    );
    const exits = two.map((child) => once(child, 'exit'));
    const { stats, chunks, epochs, starved, latest } = await run(grants, 60, (tick) => {
      if (tick === 12) first.kill('SIGTERM');
    });
    expect(await exits[0]).toEqual([0, null]);
    expect(epochs).toEqual([1, 2]);
    expect(starved).toEqual([]);
    expect(stats).toMatchObject({ staleChunks: 0, reconnects: 1 });
    expect(stats.actionsExecuted + stats.overrunTicks).toBe(60);
    expect(latest).toBeLessThanOrEqual(3000);
    second.kill('SIGTERM');
    expect(await exits[1]).toEqual([0, null]);
    const metered = await grants.metered();
    expect([...chunks].filter((id) => !metered.includes(id))).toEqual([]);
    expect(metered).toHaveLength(new Set(metered).size);
  });

  it('whose session is ended elsewhere are cut off soon, others not', async () => {
    const child = await start(database.workerUrl);
    const exit = once(child, 'exit');
    const jpeg = await jpegOf();
    const join = async (sub: string): Promise<TestRobot> => {
      const own = { ...claims, sub, epoch: 1 };
      const { version_id: version } = own.policy;
      await recordSession(admin, { tenant: own.tenant, session: sub, version });
      const robot = await TestRobot.open(port, await issuer.sign(own));
      await robot.next('welcome', 60_000);
      return robot;
    };
    const [over, on] = [await join('ses_over'), await join('ses_on')];
    await admin`update sessions set ended_at = now() where id = 'ses_over'`;
    expect(await over.closed).toEqual({ code: 1008, reason: 'the session has ended' });
    on.send(observation(0, jpeg));
    await on.next('chunk', 30_000);
    child.kill('SIGTERM');
    expect(await exit).toEqual([0, null]);
  });

  it('that speaks no SDK are told, answered and closed, and owe what they were sent', async () => {
    const child = await start(database.workerUrl);
    const exit = once(child, 'exit');
    const jpeg = await jpegOf();
    const own = { ...claims, sub: 'ses_raw', epoch: 1 };
    await recordSession(admin, {
      tenant: own.tenant,
      session: own.sub,
      version: own.policy.version_id,
    });
    const robot = await TestRobot.open(port, await issuer.sign(own));
    await robot.next('welcome', 60_000);
    robot.send(observation(0, jpeg));
    await robot.next('chunk', 30_000);
    child.kill('SIGTERM');
    expect(await robot.next('drain', 30_000)).toMatchObject({
      reason: 'the worker is stopping',
      resume: expect.any(String) as string,
    });
    robot.send(observation(1, jpeg));
    expect(await robot.answer(1, 30_000)).toMatchObject({ type: 'chunk', epoch: 1 });
    expect((await robot.closed).code).toBe(1012);
    expect(await exit).toEqual([0, null]);
    const ids = await usageIds(own.sub);
    expect(ids).toEqual(expect.arrayContaining(['ses_raw:1:0', 'ses_raw:1:1']));
  });

  it('is over its memory budget go on at the one that is started in its place', async () => {
    const first = await start(database.workerUrl, { environment: { MEMORY_BUDGET_MB: '256' } });
    const exit = once(first, 'exit');
    // As whoever keeps processes does: it left in order, and another takes its place.
    const successor = exit.then(() => start(database.workerUrl));
    const grants = await moving('ses_mem', () => `127.0.0.1:${port}`);
    const end = new AbortController();
    const { chunks, epochs, latest } = await run(
      grants,
      4000,
      (_, epoch) => {
        if (epoch > 1) end.abort();
      },
      end.signal,
    );
    expect(await exit).toEqual([0, null]);
    expect(epochs).toHaveLength(2);
    expect(epochs[0]).toBe(1);
    expect(latest).toBeLessThanOrEqual(3000);
    const second = await successor;
    const ended = once(second, 'exit');
    second.kill('SIGTERM');
    await ended;
    const metered = await grants.metered();
    expect([...chunks].filter((id) => !metered.includes(id))).toEqual([]);
  });
});

describe('a worker one of whose engine threads ends', () => {
  it('is not ready any more, tells its robots to go elsewhere, and ends with an error', async () => {
    const preload = new URL('./testing/lose-thread.mjs', import.meta.url).href;
    const child = await start(database.workerUrl, {
      preload,
      environment: { DRAIN_GRACE_MS: '3000' },
    });
    const exit = once(child, 'exit');
    const own = { ...claims, sub: 'ses_lost', epoch: 1 };
    const robot = await TestRobot.open(port, await issuer.sign(own));
    await robot.next('welcome', 120_000);
    child.kill('SIGUSR2');
    expect(await robot.next('drain', 30_000)).toHaveProperty('resume');
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(503);
    expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(503);
    robot.close();
    expect(await exit).toEqual([1, null]);
  });
});

describe('the serve process', () => {
  it('loses no chunk that was sent when it is killed, and stops cleanly when asked', async () => {
    // Its database is away, so that everything is in the spool when it dies.
    const first = await start('postgres://armature_worker@127.0.0.1:1/none');
    const before = await drive(1, 12, () => first.kill('SIGKILL'));
    expect(await usageIds()).toEqual([]);

    const second = await start(database.workerUrl);
    expect(await admin`select id, state, url from serve_workers`).toEqual([
      { id: 'serve-1', state: 'ready', url: `ws://127.0.0.1:${port}/v1/robot` },
    ]);
    await expect(
      TestRobot.open(port, await issuer.sign({ ...claims, epoch: 1 })),
    ).rejects.toMatchObject({ code: 'conflict' });
    const after = await drive(2, 5);
    expect(new Set(await usageIds())).toEqual(new Set([...before, ...after]));
    const [sums] = await admin`
      select sum(actions)::int as actions from usage_events where session_id = 'ses_p'`;
    expect(sums?.['actions']).toBe(8 * (before.length + after.length));

    const exit = once(second, 'exit');
    second.kill('SIGTERM');
    expect(await exit).toEqual([0, null]);
    expect(await admin`select id from serve_workers`).toEqual([]);
  });

  it('rolls a canary back whose robots do not get where its chunks have them go', async () => {
    const tenant = 'ten_c';
    // Slow enough for any machine.
    const spec = armSpec({ control_hz: 1 });
    const store = openStore({
      kind: 'disk',
      root: `${dir}/store`,
      publicUrl: 'http://x',
      secret: SECRET,
    });
    const put = (key: string, bytes: Uint8Array) => store.put(key, bytes);
    const stable = await putPolicy(put, tenant, makePolicy(base, spec, 6));
    const canary = await putPolicy(put, tenant, makePolicy(base, spec, 7));
    const robots: { session: string; version: typeof stable; off: number }[] = [];
    for (let i = 0; i < 8; i += 1) {
      robots.push({ session: `ses_s${i}`, version: stable, off: 0.01 + i / 1000 });
      robots.push({ session: `ses_c${i}`, version: canary, off: 0.6 + i / 1000 });
    }
    for (const { session, version } of robots) {
      await recordSession(admin, { tenant, session, version: version.version_id });
    }
    await admin`
      update embodiments set active_policy_version_id = ${stable.version_id},
        canary_policy_version_id = ${canary.version_id}, canary_share = 0.5,
        canary_since = now() + interval '1 hour' where tenant_id = ${tenant}`;
    const preload = new URL('./testing/minute-on.mjs', import.meta.url).href;
    const child = await start(database.workerUrl, { preload });
    const jpeg = await jpegOf();
    /** Two chunks of one robot, which ends `off` rad from the last step of the first. */
    const act = async (
      { session, version, off }: (typeof robots)[number],
      epoch: number,
    ): Promise<void> => {
      const who = claimsFor({
        sub: session,
        worker: 'serve-1',
        tenant,
        policy: version,
        epoch,
        embodiment: { id: 'emb_1', spec },
      });
      const robot = await TestRobot.open(port, await issuer.sign(who));
      await robot.next('welcome', 60_000);
      robot.send(observation(0, jpeg));
      const { chunk_id, actions } = await robot.next('chunk', 30_000);
      const last = actions.toFloat32().slice(-2);
      robot.send(
        observation(1, jpeg, {
          executed: { chunk_id, steps: 8 },
          state: Ndarray.float32(last.map((value) => value + off)),
        }),
      );
      await robot.next('chunk', 30_000);
      robot.send({ type: 'bye' });
      await robot.closed;
    };
    for (const robot of robots) await act(robot, 1);
    const measured = async () =>
      (
        await admin`select session_id, (deviation / chunks)::float8 as mean from policy_deviations
          where tenant_id = ${tenant}`
      ).map((row) => [String(row['session_id']), Number(row['mean'])] as const);
    await expect.poll(async () => (await measured()).length, { timeout: 30_000 }).toBe(16);
    // Both joints have a range of 6 rad.
    const wanted = new Map(robots.map(({ session, off }) => [session, off / 6]));
    for (const [session, mean] of await measured()) {
      expect(mean).toBeCloseTo(wanted.get(session) ?? NaN, 5);
    }
    const canaryNow = async () =>
      (
        await admin`select canary_policy_version_id as id from embodiments where tenant_id = ${tenant}`
      )[0]?.['id'] as unknown;
    expect(await canaryNow()).toBe(canary.version_id);
    // As if all of it had been in the minute before the last, in which the canary began.
    const then = admin`date_trunc('minute', now()) - interval '2 minutes'`;
    await admin`update policy_deviations set window_at = ${then} where tenant_id = ${tenant}`;
    await admin`update embodiments set canary_since = ${then} where tenant_id = ${tenant}`;
    const [robot] = robots.filter(({ version }) => version === canary);
    let epoch = 1;
    await expect
      .poll(
        async () => {
          // Its worker looks once a minute.
          child.kill('SIGUSR2');
          if (robot !== undefined) await act(robot, (epoch += 1));
          return canaryNow();
        },
        { timeout: 60_000, interval: 500 },
      )
      .toBeNull();
    const [line] = await admin`
      select detail from audit_log where tenant_id = ${tenant} and verb = 'policies.rollback'`;
    expect(line?.['detail']).toMatchObject({ sessions: 8, stable_sessions: 8 });
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    await exit;
  }, 240_000);

  it('serves a fine-tune of mode lora beside a head, each as a run of its own gives it', async () => {
    const runtime = await PolicyRuntime.create({ engine, base, buckets: [1], slots: 3 });
    const served = await runtime.load({ ...tuned, digest: lora.policy.digest });
    const plain = await runtime.load({
      digest: 'without its pairs',
      manifest: { ...tuned.manifest, mode: 'head' },
      files: tuned.files,
    });
    const child = await start(database.workerUrl);
    const robots = [];
    for (const who of [lora, { ...claims, epoch: 3 }]) {
      const robot = await TestRobot.open(port, await issuer.sign(who));
      await robot.next('welcome', 60_000);
      robots.push(robot);
    }
    const [own, other] = robots as [TestRobot, TestRobot];
    const state = [0.3, -0.2];
    for (let seq = 0; seq < 4; seq++) {
      own.send(seen(seq, state));
      other.send(seen(seq, state));
      const { actions, chunk_id, reasoning } = await own.next('chunk', 30_000);
      expect(reasoning?.text).toEqual(expect.any(String));
      const values = [...actions.toFloat32()];
      const expected = await alone(runtime, served, state, chunk_id, 'reasonAndAct');
      expected.forEach((value, k) => expect(values[k]).toBeCloseTo(value, 4));
      const without = await alone(runtime, plain, state, chunk_id, 'reasonAndAct');
      expect(Math.max(...without.map((value, k) => Math.abs(value - values[k]!)))).toBeGreaterThan(
        1e-2,
      );
      await other.next('chunk', 30_000);
    }
    for (const robot of robots) robot.send({ type: 'bye' });
    for (const robot of robots) await robot.closed;
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    await exit;
    const [used] = await admin`
      select sum(actions)::int as actions from usage_events where tenant_id = 'ten_l'`;
    expect(used?.['actions']).toBe(4 * 8);
  });
});
