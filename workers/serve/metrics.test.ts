import { setTimeout as sleep } from 'node:timers/promises';
import { ALLOCATIONS_PATH, type SessionClaims } from '@armature/sdk/contract';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { ImagePool } from './images/index.ts';
import { watchLag } from './lag-watch.ts';
import { silent } from './ledger/testing/entries.ts';
import { exported, metricOf } from './testing/exported.ts';
import { gate } from './testing/fake-runtime.ts';
import { jpegOf, observation, TestRobot } from './testing/robots.ts';
import { startWorker, type TestWorker, type WorkerOptions } from './testing/worker.ts';

let pool: ImagePool;
let jpeg: Uint8Array<ArrayBuffer>;
let worker: TestWorker;
let stop = async (): Promise<void> => undefined;
/** The worker's clock, ms: it stands unless a test moves it. */
let time: number;
/** What decoding an observation takes, ms. */
let decodeMs: number;
let sessions = 0;

beforeAll(async () => {
  pool = await ImagePool.start(1, () => undefined);
  jpeg = await jpegOf();
});
afterAll(() => pool.close());
afterEach(() => stop());

async function start(options: WorkerOptions = {}): Promise<void> {
  [time, decodeMs] = [1_000, 0];
  const made = await startWorker({
    clock: { now: () => time, wall: () => Date.now() },
    images: {
      prepare: async (...observed) => {
        const images = await pool.prepare(...observed);
        time += decodeMs;
        return images;
      },
    },
    ...options,
  });
  worker = made;
  stop = async () => {
    stop = async () => undefined;
    await made.stop();
  };
}

const unreasoned: Partial<SessionClaims> = { reasoning: { when: 'off' } };

const tokenOf = (claims: SessionClaims) => worker.issuer.sign(claims);

function newClaims(over = unreasoned, policy = 'one'): SessionClaims {
  return worker.claims({ sub: `ses_m${++sessions}`, ...over }, policy);
}

async function robot(over = unreasoned, policy = 'one') {
  const claims = newClaims(over, policy);
  return Object.assign(await TestRobot.ready(worker.port, await tokenOf(claims)), { claims });
}

/** A client of the other dialect, once it was welcomed with its metadata. */
async function openpiClient(): Promise<WebSocket> {
  const headers = { authorization: `Api-Key ${await tokenOf(newClaims())}` };
  const client = new WebSocket(`ws://127.0.0.1:${worker.port}/`, { headers });
  await new Promise((resolve) => client.once('message', resolve));
  return client;
}

/** One observation and its answer. */
async function ask(made: TestRobot, seq: number, over: Parameters<typeof observation>[2] = {}) {
  made.send(observation(seq, jpeg, over));
  return made.answer(seq);
}

const until = (ready: () => boolean) =>
  expect.poll(ready, { interval: 2, timeout: 20_000 }).toBe(true);

const value = async (series: string) => (await exported(worker.port))[series] ?? 0;

/** Of all series of the metrics that are named here, these and no others come to be other than 0. */
async function says(expected: Readonly<Record<string, number>>): Promise<void> {
  const metrics = new Set(Object.keys(expected).map(metricOf));
  const nonZero = Object.fromEntries(Object.entries(expected).filter(([, count]) => count !== 0));
  await expect
    .poll(() => exported(worker.port, (metric) => metrics.has(metric)), { timeout: 10_000 })
    .toEqual(nonZero);
}

/** Holds the event loop up. */
function block(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}

/** How metrics are driven, by their names, and what they must then say. */
const DRIVEN: Readonly<Record<string, () => Promise<void>>> = {
  'chunk_e2e_seconds chunk_overhead_seconds chunk_decode_seconds chunk_queue_seconds': async () => {
    await start();
    const [first, second] = [await robot(), await robot()];
    const held = gate(worker.runtime);
    decodeMs = 200;
    first.send(observation(0, jpeg));
    await until(() => held.held === 1);
    second.send(observation(0, jpeg));
    await until(() => worker.waiting() === 1);
    time += 300;
    await held.release();
    await first.answer(0);
    await until(() => held.held === 1);
    time += 500;
    await held.release();
    await second.answer(0);
    // The first is decoded for 200 ms and runs for 500; the second for as long, and waits for 300.
    await says({
      chunk_decode_seconds_count: 2,
      chunk_decode_seconds_sum: 0.4,
      chunk_queue_seconds_count: 2,
      chunk_queue_seconds_sum: 0.3,
      chunk_e2e_seconds_count: 2,
      chunk_e2e_seconds_sum: 0.7 + 1,
      chunk_overhead_seconds_count: 2,
      chunk_overhead_seconds_sum: 0.2 + 0.5,
    });
  },
  'engine_run_seconds engine_busy_seconds_total': async () => {
    const lanes = (['act', 'reason'] as const).map((lane) => ({ name: lane, serves: [lane] }));
    await start({ engines: lanes });
    const made = await robot({ reasoning: { when: 'interval', ms: 1 } });
    const held = gate(worker.runtime);
    made.send(observation(0, jpeg));
    await until(() => held.held === 1);
    time += 30;
    await held.release();
    await made.answer(0);
    // The first made its reasoning in its own run; the second's is renewed beside it.
    made.send(observation(1, jpeg, { captured_at: Date.now() + 100 }));
    await until(() => held.held === 2);
    time += 10;
    held.open();
    await says({
      'engine_run_seconds_count{kind="reason_and_act"}': 1,
      'engine_run_seconds_sum{kind="reason_and_act"}': 0.03,
      'engine_run_seconds_count{kind="act"}': 1,
      'engine_run_seconds_sum{kind="act"}': 0.01,
      'engine_run_seconds_count{kind="reason"}': 1,
      'engine_run_seconds_sum{kind="reason"}': 0.01,
      'engine_busy_seconds_total{engine="act"}': 0.04,
      'engine_busy_seconds_total{engine="reason"}': 0.01,
    });
  },
  'batch_rows batch_tenants observations_waiting': async () => {
    await start();
    const tenants = ['ten_a', 'ten_a', 'ten_b', 'ten_b'];
    const fleet = await Promise.all(tenants.map((tenant) => robot({ ...unreasoned, tenant })));
    const held = gate(worker.runtime);
    fleet[0]?.send(observation(0, jpeg));
    await until(() => held.held === 1 && worker.runtime.warmups.includes('act 4'));
    for (const made of fleet.slice(1)) made.send(observation(0, jpeg));
    await says({ observations_waiting: 3 });
    held.open();
    for (const made of fleet) await made.answer(0);
    // A row of its own, then three of two tenants.
    await says({
      batch_rows_count: 2,
      batch_rows_sum: 1 + 3,
      batch_tenants_count: 2,
      batch_tenants_sum: 1 + 2,
      observations_waiting: 0,
    });
  },
  'chunks_total actions_total clamped_values_total observations_total': async () => {
    await start();
    const made = await robot();
    await ask(made, 0);
    await ask(made, 5);
    expect(await ask(made, 4)).toMatchObject({ code: 'invalid_observation' });
    // A frame that is no observation is none received.
    made.send({ type: 'observation', seq: 6 });
    await made.answer(6);
    worker.runtime.actions = () => new Float32Array(16).fill(NaN);
    expect(await ask(made, 7)).toMatchObject({ code: 'invalid_action' });
    await says({
      chunks_total: 2,
      actions_total: 2 * 8,
      clamped_values_total: 0,
      observations_total: 4,
    });
    // Two joints, of which one is wanted beyond its range at five of eight steps.
    worker.runtime.actions = () =>
      Float32Array.from({ length: 16 }, (_, i) => (i > 5 ? i % 2 : 0) * 4);
    await ask(made, 8);
    await says({ chunks_total: 3, clamped_values_total: 5 });
  },
  error_frames_total: async () => {
    await start();
    const made = await robot({ ...unreasoned, limits: { max_in_flight: 2, max_hz: 1 } });
    await ask(made, 1);
    await ask(made, 0);
    worker.runtime.actions = () => new Float32Array(16).fill(NaN);
    await ask(made, 2);
    worker.runtime.actions = () => new Float32Array(16).fill(9);
    const { spec } = made.claims.embodiment;
    const strict = { id: 'emb_1', spec: { ...spec, on_violation: 'refuse' as const } };
    await ask(await robot({ ...unreasoned, embodiment: strict }), 0);
    // Four at once and no more: the clock stands.
    for (let seq = 3; seq < 6; seq++) await ask(made, seq);
    (await openpiClient()).send('words');
    worker.ledger.refusal = () => 'records of 9 bytes wait';
    const refused = await TestRobot.open(worker.port, await tokenOf(newClaims()));
    expect((await refused.next('error')).message).toContain('records of 9 bytes wait');
    await says({
      'error_frames_total{code="invalid_observation"}': 1,
      'error_frames_total{code="invalid_action"}': 2,
      'error_frames_total{code="rate_limited"}': 1,
      'error_frames_total{code="invalid_frame"}': 1,
      'error_frames_total{code="unavailable"}': 1,
    });
  },
  chunk_late_total: async () => {
    await start();
    const made = await robot();
    const asked = { captured_at: Date.now(), deadline_ms: 50 };
    await ask(made, 0, asked);
    // As long on its way as the worker's clock went on, since the robot's did not.
    time += 60;
    await ask(made, 1, { ...asked, captured_at: asked.captured_at + 1 });
    await says({ 'chunk_late_total{reason="arrival"}': 1 });
    const [runs, waits] = [await robot(), await robot()];
    const held = gate(worker.runtime);
    runs.send(observation(0, jpeg, asked));
    await until(() => held.held === 1);
    waits.send(observation(0, jpeg, asked));
    await until(() => worker.waiting() === 1);
    time += 60;
    await waits.answer(0);
    held.open();
    await runs.answer(0);
    const late = {
      'chunk_late_total{reason="arrival"}': 1,
      'chunk_late_total{reason="queue"}': 1,
      'chunk_late_total{reason="computed"}': 1,
    };
    await says(late);
    // One that does not read what it is sent, until a chunk of its gives way to the next.
    const reasonAndAct = worker.runtime.reasonAndAct.bind(worker.runtime);
    worker.runtime.reasonAndAct = async (rows) =>
      (await reasonAndAct(rows)).map(({ actions }) => {
        const text = 'x'.repeat(1 << 20);
        return { actions, reasoning: { text, tokens: 1, embedding: new Float32Array(1) } };
      });
    const slow = await robot({ reasoning: { when: 'every_chunk' } });
    slow.socket.pause();
    const series = 'chunk_late_total{reason="slow_reader"}';
    for (let seq = 0; seq < 40 && (await value(series)) === 0; seq++) {
      const before = worker.runtime.runs.length;
      slow.send(observation(seq, jpeg));
      await until(() => worker.runtime.runs.length > before);
      await sleep(5);
    }
    await says({ ...late, [series]: 1 });
    slow.socket.terminate();
  },
  observations_replaced_total: async () => {
    await start();
    const made = await robot({ ...unreasoned, limits: { max_in_flight: 1, max_hz: 200 } });
    const held = gate(worker.runtime);
    made.send(observation(0, jpeg));
    await until(() => held.held === 1);
    for (let seq = 1; seq < 4; seq++) {
      made.send(observation(seq, jpeg));
      await until(() => worker.waiting() === 1);
      if (seq > 1) expect(await made.answer(seq - 1)).toMatchObject({ code: 'cancelled' });
    }
    held.open();
    expect(await made.answer(3)).toMatchObject({ type: 'chunk' });
    await says({ observations_replaced_total: 2 });
  },
  robot_delay_steps: async () => {
    await start();
    const made = await robot();
    await ask(made, 0);
    await ask(made, 1, { delay: { steps: 3, latency_ms: 150 } });
    await ask(made, 2, { delay: { steps: 4, latency_ms: 200 } });
    await says({ robot_delay_steps_count: 2, robot_delay_steps_sum: 3 + 4 });
  },
  'reasoning_tokens_total reasoning_age_seconds': async () => {
    await start();
    await ask(await robot(), 0);
    const made = await robot({ reasoning: { when: 'instruction_change' } });
    const captured = Date.now();
    for (const age of [0, 2_000, 3_000]) {
      time = 1_000 + age;
      await ask(made, age, { captured_at: captured + age });
    }
    await says({
      reasoning_tokens_total: 4,
      reasoning_age_seconds_count: 3,
      reasoning_age_seconds_sum: 2 + 3,
    });
    // What a chunk cost that may not leave was made all the same.
    worker.runtime.actions = () => new Float32Array(16).fill(NaN);
    await ask(made, 4_000, { captured_at: captured + 4_000, instruction: 'drop it' });
    await says({
      reasoning_tokens_total: 4 + 4,
      reasoning_age_seconds_count: 3,
      reasoning_age_seconds_sum: 5,
    });
  },
  'policy_load_seconds policies_held policies_pinned': async () => {
    await start({ policySlots: 2 });
    worker.runtime.onLoad = async () => {
      await sleep(60);
    };
    const fleet = [await robot(), await robot(), await robot(unreasoned, 'two')];
    await says({ policies_held: 2, policies_pinned: 2 });
    for (const [i, pinned] of [2, 1, 0].entries()) {
      fleet[i]?.close();
      await says({ policies_held: 2, policies_pinned: pinned });
    }
    await robot(unreasoned, 'three');
    await says({ policies_held: 2, policies_pinned: 1 });
    expect(await value('policy_load_seconds_count')).toBe(3);
    expect(await value('policy_load_seconds_sum')).toBeGreaterThan(3 * 0.05);
  },
  'sessions sessions_opened_total sessions_replaced_total': async () => {
    await start();
    const made = await robot();
    const other = await robot();
    await robot({ ...made.claims, epoch: 2 });
    await made.closed;
    await openpiClient();
    await says({ sessions: 3, sessions_opened_total: 4, sessions_replaced_total: 1 });
    worker.ledger.refusal = () => 'full';
    await (
      await TestRobot.open(worker.port, await tokenOf(newClaims()))
    ).closed;
    other.close();
    await says({ sessions: 2, sessions_opened_total: 4 });
  },
  session_closed_total: async () => {
    await start();
    const said = await robot();
    said.send({ type: 'bye' });
    (await robot()).socket.terminate();
    const ended = await robot();
    worker.gateway.endSessions([ended.claims.sub]);
    (await openpiClient()).close(1001);
    await says({
      'session_closed_total{code="1000"}': 1,
      'session_closed_total{code="1001"}': 1,
      'session_closed_total{code="1006"}': 1,
      'session_closed_total{code="1008"}': 1,
    });
    // Two are there when the worker leaves.
    for (let n = 0; n < 2; n++) await robot();
    const { registry } = worker.metrics;
    await stop();
    const restarts = 'session_closed_total{code="1012"} 2';
    expect((await registry.metrics()).split('\n')).toContain(restarts);
  },
  upgrades_refused_total: async () => {
    await start();
    const { claims } = await robot();
    const refused = async (token: string, code: string) =>
      expect(TestRobot.open(worker.port, token)).rejects.toMatchObject({ code });
    await refused('no.token.this', 'invalid_token');
    await refused(await tokenOf(newClaims({ worker: 'another' })), 'forbidden');
    await refused(await tokenOf(claims), 'conflict');
    worker.gateway.beginDrain('stopping');
    for (let n = 0; n < 2; n++) await refused(await tokenOf(newClaims()), 'unavailable');
    await says({
      'upgrades_refused_total{code="invalid_token"}': 1,
      'upgrades_refused_total{code="forbidden"}': 1,
      'upgrades_refused_total{code="conflict"}': 1,
      'upgrades_refused_total{code="unavailable"}': 2,
    });
  },
  'allocations worker_ready': async () => {
    let engines: 'alive' | 'lost' = 'alive';
    await start({ threadsAlive: () => engines === 'alive' });
    await robot();
    const kept = await fetch(`http://127.0.0.1:${worker.port}${ALLOCATIONS_PATH}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await tokenOf(newClaims())}` },
    });
    expect(kept.status).toBe(201);
    const places = { 'allocations{state="ready"}': 98, 'allocations{state="allocated"}': 2 };
    await says({ ...places, worker_ready: 1 });
    engines = 'lost';
    await says({ ...places, worker_ready: 0 });
    engines = 'alive';
    await says({ ...places, worker_ready: 1 });
    worker.gateway.beginDrain('memory budget');
    await says({ 'allocations{state="draining"}': 2, worker_ready: 0 });
  },
  'ledger_flushed_total spool_bytes spool_age_seconds': async () => {
    await start();
    worker.sink.down = true;
    let bytes = 0;
    const append = worker.ledger.append.bind(worker.ledger);
    worker.ledger.append = (entries) => {
      for (const entry of entries) bytes += Buffer.byteLength(JSON.stringify(entry)) + 1;
      return append(entries);
    };
    const made = await robot({ reasoning: { when: 'instruction_change' } });
    const from = performance.now();
    for (let seq = 0; seq < 4; seq++) await ask(made, seq);
    await sleep(60);
    await says({ ledger_flushed_total: 0, spool_bytes: bytes });
    const age = await value('spool_age_seconds');
    expect(age).toBeGreaterThan(0.05);
    expect(age).toBeLessThan((performance.now() - from) / 1000 + 0.002);
    worker.sink.refuse = (entry) => entry.id.endsWith(':3');
    worker.sink.down = false;
    await worker.ledger.flush(5_000);
    // Three chunks and a reasoning; the fourth chunk's record is set aside.
    await says({ ledger_flushed_total: 3 + 1, spool_bytes: 0, spool_age_seconds: 0 });
  },
  'rss_bytes heap_bytes': async () => {
    await start();
    const [rss, heap] = [await value('rss_bytes'), await value('heap_bytes')];
    // More than is garbage by then.
    const outside = Buffer.alloc(96 << 20, 1);
    const inside = new Array<number>(16_000_000).fill(0.5);
    expect(await value('rss_bytes')).toBeGreaterThan(rss + outside.length / 2);
    expect(await value('heap_bytes')).toBeGreaterThan(heap + 4 * inside.length);
    expect(await value('heap_bytes')).toBeLessThan(await value('rss_bytes'));
  },
  'event_loop_lag_seconds event_loop_late_seconds_total': async () => {
    await start();
    // A delay shows between two ticks of the one who measures, which begins anew with every reading.
    await exported(worker.port);
    const from = performance.now();
    const watch = watchLag(worker.metrics, silent);
    await sleep(50);
    block(600);
    await sleep(50);
    watch.read();
    const took = (performance.now() - from) / 1000;
    const told = await exported(worker.port);
    expect(told['event_loop_late_seconds_total']).toBeGreaterThan(0.6);
    expect(told['event_loop_late_seconds_total']).toBeLessThan(took);
    const lags = [0.5, 0.9, 0.99, 1].map(
      (q) => told[`event_loop_lag_seconds{quantile="${q}"}`] ?? 0,
    );
    // It is one of a few dozen ticks.
    expect(lags[2]).toBeGreaterThan(0.55);
    expect(lags).toEqual([...lags].sort((a, b) => a - b));
    // Since the last reading.
    const since = performance.now();
    await sleep(50);
    const again = await value('event_loop_lag_seconds{quantile="1"}');
    expect(again).toBeLessThan((performance.now() - since) / 1000 + 0.02);
  },
};

describe('what a worker exports', () => {
  it('is all driven here', async () => {
    await start();
    const names = worker.metrics.registry.getMetricsAsArray().map(({ name }) => name);
    const driven = Object.keys(DRIVEN).flatMap((row) => row.split(' '));
    expect(driven.sort()).toEqual(names.sort());
  });

  it.each(Object.entries(DRIVEN))('%s: says what it means', async (_, drive) => {
    await drive();
  });
});
