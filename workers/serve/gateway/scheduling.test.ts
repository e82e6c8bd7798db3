import { Ndarray, type SessionClaims } from '@armature/sdk/contract';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ImagePool } from '../images/index.ts';
import type { LedgerEntry } from '../ledger/index.ts';
import { gate, policyNumber } from '../testing/fake-runtime.ts';
import { jpegOf, observation, TestRobot } from '../testing/robots.ts';
import { SlowThreadRuntime } from '../testing/slow-thread.ts';
import { startWorker, type TestWorker } from '../testing/worker.ts';

let worker: TestWorker;
let jpeg: Uint8Array<ArrayBuffer>;
let images: ImagePool;
/** Time that the worker's clock has leapt over, ms. */
let skip = 0;
const clock = { now: () => performance.now() + skip, wall: () => Date.now() };
beforeAll(async () => {
  jpeg = await jpegOf();
  images = await ImagePool.start(1, () => {});
});
afterAll(() => images.close());
beforeEach(async () => {
  skip = 0;
  worker = await startWorker({ images, clock });
});
afterEach(() => worker.stop());

let count = 0;
async function robot(over: Partial<SessionClaims> = {}, policy = 'one') {
  const claims = worker.claims({ sub: `ses_s${++count}`, ...over }, policy);
  const made = await TestRobot.ready(worker.port, await worker.issuer.sign(claims));
  return Object.assign(made, { claims });
}
const state = (value: number) => Ndarray.float32(Float32Array.of(value, 0));
const off = { reasoning: { when: 'off' } } as const;
const until = (ready: () => boolean) =>
  expect.poll(ready, { interval: 2, timeout: 20_000 }).toBe(true);

describe('many robots on one worker', () => {
  it('puts robots of several tenants and policies in one run, and each gets its own row', async () => {
    const first = await robot(off);
    const held = gate(worker.runtime);
    first.send(observation(0, jpeg));
    await until(() => held.held === 1);
    const others = await Promise.all(
      Array.from({ length: 6 }, (_, i) =>
        robot({ ...off, tenant: `ten_${i % 3}` }, `policy-${i % 4}`),
      ),
    );
    await until(() => worker.runtime.warmups.includes('act 8'));
    others.forEach((other, i) => other.send(observation(0, jpeg, { state: state(i / 10) })));
    await until(() => worker.waiting() === 6);
    held.open();
    const chunks = await Promise.all(others.map((other) => other.next('chunk')));
    chunks.forEach((chunk, i) => {
      expect(chunk.timings.batch).toBe(6);
      expect(chunk.chunk_id).toBe(`${others[i]!.claims.sub}:1:0`);
      const expected = i / 10 + policyNumber(others[i]!.claims.policy.digest);
      for (const value of chunk.actions.toFloat32()) expect(value).toBeCloseTo(expected, 5);
    });
    expect(worker.runtime.runs.map((run) => run.rows.length)).toEqual([1, 6]);
  });

  it('answers robots while graphs for more of them at once are made, one by one until then', async () => {
    const made = await robot(off);
    const opened: (() => void)[] = [];
    worker.runtime.onPrepare = () => new Promise((resolve) => opened.push(resolve));
    const others = await Promise.all(Array.from({ length: 5 }, () => robot(off)));
    await until(() => opened.length === 1);
    const held = gate(worker.runtime);
    made.send(observation(0, jpeg));
    await until(() => held.held === 1);
    for (const other of others) other.send(observation(0, jpeg));
    await until(() => worker.waiting() === 5);
    held.open();
    for (const other of others) expect((await other.next('chunk')).timings.batch).toBe(1);
    opened[0]?.();
    await until(() => opened.length === 2);
    for (const other of [made, ...others]) other.send(observation(1, jpeg));
    for (const other of [made, ...others]) {
      expect(await other.answer(1)).toMatchObject({ type: 'chunk' });
    }
    const sizes = worker.runtime.runs.slice(6).map((run) => run.rows.length);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(2);
    worker.runtime.onPrepare = () => Promise.resolve();
    opened.forEach((open) => open());
  });

  it('computes the newest observation and says that the older one was replaced', async () => {
    const made = await robot(off);
    const held = gate(worker.runtime);
    made.send(observation(0, jpeg));
    await until(() => held.held === 1);
    for (let seq = 1; seq <= 5; seq++) {
      made.send(observation(seq, jpeg, { state: state(seq / 10) }));
    }
    for (let seq = 1; seq < 5; seq++) {
      expect(await made.answer(seq)).toMatchObject({ type: 'error', code: 'cancelled' });
    }
    held.open();
    expect(await made.answer(0)).toMatchObject({ type: 'chunk' });
    expect(await made.answer(5)).toMatchObject({ type: 'chunk' });
    expect(worker.runtime.runs.map((run) => run.rows[0]?.state[0])).toEqual([
      0.5,
      expect.closeTo(0.5, 5),
    ]);
  });

  it('drops what is past its deadline, before a run and after it, and never sends it late', async () => {
    const busy = await robot(off);
    const made = await robot(off);
    const held = gate(worker.runtime);
    busy.send(observation(0, jpeg));
    await until(() => held.held === 1);
    made.send(observation(0, jpeg, { deadline_ms: 60_000 }));
    await until(() => worker.waiting() === 1);
    skip += 60_000;
    await held.release();
    expect(await made.answer(0)).toMatchObject({ code: 'timeout', field: 'deadline_ms' });
    // The robot's clock has gone on as the worker's has.
    const late = () => ({ deadline_ms: 60_000, captured_at: Date.now() + skip });
    made.send(observation(1, jpeg, late()));
    await until(() => held.held === 1);
    skip += 60_000;
    held.open();
    expect(await made.answer(1)).toMatchObject({ code: 'timeout' });
    made.send(observation(2, jpeg, late()));
    expect(await made.answer(2)).toMatchObject({ type: 'chunk' });
    expect(worker.runtime.runs).toHaveLength(3);
    await worker.ledger.flush(5000);
    const metered = [...worker.sink.entries.values()].filter(
      (e) => e.session_id === made.claims.sub,
    );
    expect(metered.map((entry) => entry.id)).toEqual([`${made.claims.sub}:1:2`]);
  });

  it('keeps the engine failing for one robot from harming the others of its run', async () => {
    const held = gate(worker.runtime);
    const [busy, good, bad] = [await robot(off), await robot(off), await robot(off)];
    busy.send(observation(0, jpeg));
    await until(() => held.held === 1);
    worker.runtime.actions = (row) => {
      if (row.state[0] === 9) throw new Error('poison');
      return new Float32Array(16).fill(row.state[0]!);
    };
    good.send(observation(0, jpeg));
    bad.send(observation(0, jpeg, { state: state(9) }));
    await until(() => worker.waiting() === 2);
    held.open();
    expect(await good.answer(0)).toMatchObject({ type: 'chunk' });
    expect(await bad.answer(0)).toMatchObject({ code: 'internal', retryable: true });
    const said = JSON.stringify(await bad.answer(0));
    expect(said).not.toContain('poison');
  });

  it('forgets a robot that leaves while its observation is computed, and owes nothing for it', async () => {
    const made = await robot(off);
    const held = gate(worker.runtime);
    made.send(observation(0, jpeg));
    await until(() => held.held === 1);
    made.close();
    await made.closed;
    await until(() => worker.gateway.sessions === 0);
    held.open();
    await new Promise((resolve) => setTimeout(resolve, 30));
    await worker.ledger.flush(5000);
    expect(worker.sink.entries.size).toBe(0);
  });
});

describe('admission', () => {
  it('refuses a robot whose rate the engines cannot hold, with what was measured', async () => {
    const made = await robot(off);
    const slow = gate(worker.runtime);
    // Five runs of two seconds each for one robot: the engine is busy all the time.
    for (let seq = 0; seq < 5; seq++) {
      made.send(observation(seq, jpeg));
      await until(() => slow.held === 1);
      skip += 2_000;
      await slow.release();
      await made.answer(seq);
    }
    slow.open();
    const claims = worker.claims({ sub: `ses_s${++count}`, ...off });
    const late = await TestRobot.open(worker.port, await worker.issuer.sign(claims));
    expect(await late.next('error')).toMatchObject({
      code: 'unavailable',
      retryable: true,
      field: 'embodiment.control_hz',
      message: expect.stringMatching(/takes 20\d\d ms here.*after 400 ms/) as string,
    });
    expect((await late.closed).code).toBe(1013);
  });
});

describe('a robot that says goodbye', () => {
  it('gets nothing afterwards and owes nothing for what was being computed', async () => {
    const made = await robot(off);
    const held = gate(worker.runtime);
    made.send(observation(0, jpeg));
    await until(() => held.held === 1);
    made.send({ type: 'bye' });
    await until(() => worker.gateway.sessions === 0);
    held.open();
    expect((await made.closed).code).toBe(1000);
    await worker.ledger.flush(5000);
    expect(made.frames.some((frame) => frame.type === 'chunk')).toBe(false);
    expect(worker.sink.entries.size).toBe(0);
  });

  it('lets go of its policy once nothing of it is being computed any more', async () => {
    const made = await robot(off);
    const held = gate(worker.runtime);
    made.send(observation(0, jpeg));
    await until(() => held.held === 1);
    made.close();
    await until(() => worker.gateway.sessions === 0);
    const pinned = async () =>
      /^policies_pinned (\d)/m.exec(await worker.metrics.registry.metrics())?.[1];
    expect(await pinned()).toBe('1');
    held.open();
    await expect.poll(pinned, { timeout: 10_000 }).toBe('0');
  });
});

describe('reasoning cadence', () => {
  it('reasons off the critical path at an interval, and says how old it is', async () => {
    const made = await robot({ reasoning: { when: 'interval', ms: 4000 } });
    for (let seq = 0; seq < 12; seq++) {
      made.send(observation(seq, jpeg));
      await made.next('chunk');
      skip += 1000;
    }
    const kinds = worker.runtime.runs.map((run) => run.kind);
    expect(kinds[0]).toBe('reasonAndAct');
    expect(kinds.filter((kind) => kind === 'reasonAndAct')).toHaveLength(1);
    expect(kinds.filter((kind) => kind === 'act')).toHaveLength(11);
    const refreshes = kinds.filter((kind) => kind === 'reason').length;
    expect(refreshes).toBeGreaterThanOrEqual(2);
    const chunks = made.frames.filter((frame) => frame.type === 'chunk');
    const ids = new Set(chunks.map((chunk) => chunk.reasoning?.id));
    expect(ids.size).toBeGreaterThanOrEqual(2);
    expect(ids.size).toBeLessThanOrEqual(refreshes + 1);
    expect(Math.max(...chunks.map((chunk) => chunk.reasoning?.age_ms ?? 0))).toBeGreaterThan(1000);
    const used = worker.runtime.runs.filter((run) => run.kind === 'act');
    expect(used.every((run) => run.rows[0]?.reasoning?.text === 'to lift the cup')).toBe(true);
    await worker.ledger.flush(5000);
    const entries = [...worker.sink.entries.values()];
    const records = entries.flatMap((e) => (e.kind === 'reasoning' ? [e.id] : []));
    const usage = entries.flatMap((e) => (e.kind === 'usage' ? [e] : []));
    expect(new Set(records)).toEqual(ids);
    expect(usage.reduce((sum, e) => sum + e.reasoning_tokens, 0)).toBe(4 * ids.size);
    expect(usage.every((e) => ids.has(e.reasoning_id ?? ''))).toBe(true);
  });

  it('reasons anew when the instruction changes, and never uses one about another', async () => {
    const made = await robot({ reasoning: { when: 'instruction_change' } });
    const said: (string | undefined)[] = [];
    for (const [seq, instruction] of ['lift', 'lift', 'drop', 'drop'].entries()) {
      made.send(observation(seq, jpeg, { instruction }));
      said.push((await made.next('chunk')).reasoning?.text);
    }
    expect(said).toEqual(['to lift', 'to lift', 'to drop', 'to drop']);
    expect(worker.runtime.runs.map((run) => run.kind)).toEqual([
      'reasonAndAct',
      'act',
      'reasonAndAct',
      'act',
    ]);
  });

  it('does without where it is off', async () => {
    const made = await robot(off);
    made.send(observation(0, jpeg));
    expect((await made.next('chunk')).reasoning).toBeNull();
  });
});

describe('stopping', () => {
  it('drains: not ready, no new robots, those here told, answered and closed with 1012', async () => {
    const made = await robot(off);
    const held = gate(worker.runtime);
    made.send(observation(0, jpeg));
    await until(() => held.held === 1);
    worker.gateway.beginDrain('stopping');
    expect(await made.next('drain')).toEqual({
      type: 'drain',
      reason: 'stopping',
      resume: expect.any(String) as string,
    });
    expect((await fetch(`http://127.0.0.1:${worker.port}/readyz`)).status).toBe(503);
    expect((await fetch(`http://127.0.0.1:${worker.port}/healthz`)).status).toBe(200);
    const places = async () =>
      /^allocations\{state="draining"\} (\d)/m.exec(await worker.metrics.registry.metrics());
    expect((await places())?.[1]).toBe('1');
    await expect(robot()).rejects.toMatchObject({ code: 'unavailable', status: 503 });
    const closing = worker.gateway.close(0, 0);
    held.open();
    expect((await made.next('chunk')).seq).toBe(0);
    expect((await made.closed).code).toBe(1012);
    await closing;
    await worker.ledger.flush(5000);
    expect([...worker.sink.entries.keys()]).toEqual([`usage ${made.claims.sub}:1:0`]);
  });
});

describe('handing over', () => {
  it('lets the next worker go on with task and commands of the one that drains', async () => {
    const next = await startWorker({ images, clock });
    const made = await robot(off);
    made.send(observation(0, jpeg));
    const first = await made.next('chunk');
    made.send(observation(1, jpeg, { executed: { chunk_id: first.chunk_id, steps: 3 } }));
    await made.answer(1);
    worker.gateway.beginDrain('stopping');
    const { resume = '' } = await made.next('drain');
    const claims = next.claims({ sub: made.claims.sub, epoch: 2, ...off });
    const there = await TestRobot.ready(next.port, await next.issuer.sign(claims));
    const { instruction: _, ...untold } = observation(2, jpeg);
    there.send({ ...untold, resume });
    expect(await there.answer(2)).toMatchObject({ type: 'chunk', epoch: 2 });
    expect(next.runtime.runs[0]?.rows[0]).toMatchObject({
      instruction: 'lift the cup',
      lastCommand: first.actions.toFloat32().slice(4, 6),
    });
    const thief = next.claims({ sub: `ses_s${++count}`, epoch: 2, ...off });
    const other = await TestRobot.ready(next.port, await next.issuer.sign(thief));
    other.send({ ...untold, seq: 0, resume });
    expect(await other.answer(0)).toMatchObject({
      code: 'invalid_observation',
      field: 'instruction',
    });
    other.send({ ...untold, seq: 1, resume: 'AAAA' });
    expect(await other.answer(1)).toMatchObject({ type: 'error' });
    await next.stop();
  });

  it('keeps a place for a session that was announced, and has its policy ready', async () => {
    const claims = worker.claims({ sub: `ses_s${++count}`, ...off }, 'ahead');
    const token = await worker.issuer.sign(claims);
    const announce = (bearer: string) =>
      fetch(`http://127.0.0.1:${worker.port}/v1/allocations`, {
        method: 'POST',
        headers: { authorization: `Bearer ${bearer}` },
      });
    expect((await announce('a.b.c')).status).toBe(401);
    expect((await announce(token)).status).toBe(201);
    await until(() => worker.runtime.loads === 1);
    const made = await TestRobot.ready(worker.port, token);
    expect(worker.runtime.loads).toBe(1);
    made.send(observation(0, jpeg));
    await made.next('chunk');
    expect((await announce(token)).status).toBe(409);
    made.close();
  });
});

describe('a policy that was announced', () => {
  async function announced(own: TestWorker, policy: string) {
    const claims = own.claims({ sub: `ses_s${++count}`, ...off }, policy);
    const token = await own.issuer.sign(claims);
    const answer = await fetch(`http://127.0.0.1:${own.port}/v1/allocations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
    });
    expect(answer.status).toBe(201);
    return token;
  }
  const pinned = async (own: TestWorker) =>
    /^policies_pinned (\d)/m.exec(await own.metrics.registry.metrics())?.[1];
  const other = async (own: TestWorker) => {
    const claims = own.claims({ sub: `ses_s${++count}`, ...off }, 'another');
    return TestRobot.open(own.port, await own.issuer.sign(claims));
  };

  it('stays in its slot with its graphs until its robot is there, and then as the robot’s', async () => {
    const own = await startWorker({ images, clock, policySlots: 1 });
    const token = await announced(own, 'ahead');
    await until(() => own.runtime.warmups.includes('act 1'));
    const refused = await other(own);
    expect(await refused.next('error')).toMatchObject({ code: 'unavailable', field: 'policy' });
    const made = await TestRobot.ready(own.port, token);
    expect(own.runtime.warmups).toEqual(['act 1']);
    expect(own.runtime.loads).toBe(1);
    made.send(observation(0, jpeg));
    await made.next('chunk');
    made.close();
    await made.closed;
    await expect.poll(() => pinned(own), { timeout: 10_000 }).toBe('0');
    await own.stop();
  });

  it('goes when nobody came in time, loaded or still loading', async () => {
    const own = await startWorker({ images, clock, policySlots: 1 });
    let loaded = (): void => undefined;
    own.runtime.onLoad = () => new Promise((resolve) => (loaded = resolve));
    await announced(own, 'ahead');
    await until(() => own.runtime.loads === 1);
    skip += 30_001;
    expect(own.gateway.places.allocated).toBe(0);
    loaded();
    await expect.poll(() => pinned(own), { timeout: 10_000 }).toBe('0');
    own.runtime.onLoad = () => Promise.resolve();
    const there = await other(own);
    await there.next('welcome');
    there.close();
    await own.stop();
  });
});

describe('health', () => {
  it('is denied, and readiness with it, while an engine has been stuck in a run for a minute', async () => {
    const status = async (path: string) =>
      (await fetch(`http://127.0.0.1:${worker.port}${path}`)).status;
    const made = await robot(off);
    const held = gate(worker.runtime);
    made.send(observation(0, jpeg));
    await until(() => held.held === 1);
    skip += 59_000;
    expect([await status('/healthz'), await status('/readyz')]).toEqual([200, 200]);
    skip += 2_000;
    expect([await status('/healthz'), await status('/readyz')]).toEqual([503, 503]);
    await expect(robot(off)).rejects.toMatchObject({ code: 'unavailable' });
    held.open();
    expect(await made.answer(0)).toMatchObject({ type: 'chunk' });
    expect([await status('/healthz'), await status('/readyz')]).toEqual([200, 200]);
  });
});

describe('reasoning beside the chunks', () => {
  const lanes = {
    'an engine of its own': [
      { name: 'act', serves: ['act'] },
      { name: 'reason', serves: ['reason'] },
    ],
    'the one engine there is': [{ name: 'engine', serves: ['act', 'reason'] }],
  } as const;

  /** A robot whose second observation has started a renewal that is held in the engine. */
  async function reasoning(engines: (typeof lanes)[keyof typeof lanes], told = false) {
    const own = await startWorker({ images, clock, engines });
    const held = gate(own.runtime);
    const hold = own.runtime.pace;
    own.runtime.pace = () =>
      own.runtime.runs.at(-1)?.kind === 'reason' ? hold() : Promise.resolve();
    const claims = own.claims({
      sub: `ses_s${++count}`,
      reasoning: { when: 'interval', ms: 1 },
    });
    const made = await TestRobot.ready(own.port, await own.issuer.sign(claims));
    made.send(observation(0, jpeg, told ? { reasoning_frames: true } : {}));
    const first = await made.next('chunk');
    skip += 10;
    made.send(observation(1, jpeg, { captured_at: Date.now() + skip }));
    await made.answer(1);
    await until(() => held.held === 1);
    return { own, held, made: Object.assign(made, { id: claims.sub, claims }), first };
  }

  it('never holds up a chunk on an engine of its own, and drives the next once it is there', async () => {
    const { own, held, made, first } = await reasoning(lanes['an engine of its own']);
    for (let seq = 2; seq < 8; seq++) {
      made.send(observation(seq, jpeg));
      const chunk = await made.answer(seq);
      expect(chunk).toMatchObject({ type: 'chunk', reasoning: { id: first.reasoning?.id } });
    }
    expect(held.held).toBe(1);
    await held.release();
    made.send(observation(8, jpeg));
    const driven = await made.answer(8);
    expect(driven).toMatchObject({ type: 'chunk', reasoning: { id: `${made.id}:1:1` } });
    held.open();
    await own.stop();
  });

  it('is told as soon as it is there where that was asked for, and to nobody else', async () => {
    for (const asked of [true, false]) {
      const { own, held, made } = await reasoning(lanes['an engine of its own'], asked);
      await held.release();
      if (asked) {
        expect(await made.next('reasoning')).toMatchObject({
          id: `${made.id}:1:1`,
          text: 'to lift the cup',
          epoch: 1,
          seq: 1,
        });
      }
      made.send(observation(2, jpeg));
      expect(await made.answer(2)).toMatchObject({ reasoning: { id: `${made.id}:1:1` } });
      const told = made.frames.filter((frame) => frame.type === 'reasoning');
      expect(told).toHaveLength(asked ? 1 : 0);
      held.open();
      await own.stop();
    }
  });

  /** All that is recorded from now on, in its order. */
  function recording({ ledger }: TestWorker): LedgerEntry[] {
    const entries: LedgerEntry[] = [];
    const append = ledger.append.bind(ledger);
    ledger.append = async (added) => {
      await append(added);
      entries.push(...added);
    };
    return entries;
  }

  it('is on record, once, where the robot was told of it and it then drives no chunk', async () => {
    for (const fate of ['a later one takes its place', 'its session ends'] as const) {
      const { own, held, made } = await reasoning(lanes['an engine of its own'], true);
      const entries = recording(own);
      await held.release();
      const told = await made.next('reasoning');
      expect(entries).toEqual([
        expect.objectContaining({ kind: 'reasoning', id: told.id, text: told.text, tokens: 4 }),
      ]);
      if (fate === 'a later one takes its place') {
        // The chunk that it would drive may not leave; another reasoning is there before the next.
        const { actions } = own.runtime;
        own.runtime.actions = () => new Float32Array(16).fill(NaN);
        skip += 10;
        made.send(observation(2, jpeg, { captured_at: Date.now() + skip }));
        expect(await made.answer(2)).toMatchObject({ code: 'invalid_action' });
        await until(() => held.held === 1);
        await held.release();
        await until(() => made.frames.filter(({ type }) => type === 'reasoning').length === 2);
        own.runtime.actions = actions;
        made.send(observation(3, jpeg));
        expect(await made.answer(3)).toMatchObject({ reasoning: { id: `${made.id}:1:2` } });
      }
      made.send({ type: 'bye' });
      held.open();
      await made.closed;
      const ids = entries.flatMap((entry) => (entry.kind === 'reasoning' ? [entry.id] : []));
      const usage = entries.flatMap((entry) => (entry.kind === 'usage' ? [entry] : []));
      expect(new Set(ids).size).toBe(ids.length);
      expect(ids).toContain(told.id);
      expect(usage.map((entry) => entry.reasoning_id)).not.toContain(told.id);
      // What was never used is not charged.
      expect(usage.map((entry) => entry.reasoning_tokens)).toEqual(usage.map(() => 4));
      await own.stop();
      expect(own.sink.entries.has(`reasoning ${told.id}`)).toBe(true);
    }
  });

  it('is recorded when it is told, and counted with the first chunk that it then drives', async () => {
    const { own, held, made } = await reasoning(lanes['an engine of its own'], true);
    const entries = recording(own);
    await held.release();
    const told = await made.next('reasoning');
    for (let seq = 2; seq < 4; seq++) {
      made.send(observation(seq, jpeg));
      expect(await made.answer(seq)).toMatchObject({ reasoning: { id: told.id } });
    }
    const usage = entries.flatMap((entry) => (entry.kind === 'usage' ? [entry] : []));
    expect(entries.filter(({ kind, id }) => kind === 'reasoning' && id === told.id)).toHaveLength(
      1,
    );
    expect(usage.map((entry) => entry.reasoning_tokens)).toEqual([4, 0]);
    held.open();
    await own.stop();
  });

  it('is told in the epoch that its session goes on in, which a robot takes no other of', async () => {
    const { own, held, made } = await reasoning(lanes['an engine of its own'], true);
    made.send({ type: 'refresh', token: await own.issuer.sign({ ...made.claims, epoch: 2 }) });
    await until(() => own.ledger.epochs.highestSpent(made.id) === 2);
    await held.release();
    expect(await made.next('reasoning')).toMatchObject({ epoch: 2, seq: 1 });
    held.open();
    await own.stop();
  });

  it('is not told where it cannot be recorded, and comes with the chunk that it drives', async () => {
    const { own, held, made } = await reasoning(lanes['an engine of its own'], true);
    const { ledger } = own;
    const append = ledger.append.bind(ledger);
    let refused = 0;
    ledger.append = () => {
      refused += 1;
      return Promise.reject(new Error('no space left on device'));
    };
    await held.release();
    await until(() => refused === 1);
    ledger.append = append;
    const entries = recording(own);
    made.send(observation(2, jpeg));
    expect(await made.answer(2)).toMatchObject({ reasoning: { id: `${made.id}:1:1` } });
    expect(made.frames.filter(({ type }) => type === 'reasoning')).toEqual([]);
    expect(entries.map(({ kind }) => kind)).toEqual(['reasoning', 'usage']);
    held.open();
    await own.stop();
  });

  it('holds a chunk up by one run at most where both share an engine', async () => {
    const { own, held, made } = await reasoning(lanes['the one engine there is']);
    made.send(observation(2, jpeg));
    await until(() => own.waiting() === 1);
    await held.release();
    expect(await made.answer(2)).toMatchObject({ type: 'chunk' });
    const kinds = own.runtime.runs.map((run) => run.kind);
    expect(kinds.slice(0, 4)).toEqual(['reasonAndAct', 'act', 'reason', 'act']);
    held.open();
    await own.stop();
  });
});

describe('the event loop', () => {
  it('stays free while an engine computes in its thread, and robots are answered', async () => {
    const slow = new SlowThreadRuntime(300);
    const own = await startWorker({ runtime: slow, images });
    const robots = await Promise.all(
      Array.from({ length: 6 }, async (_, i) => {
        const claims = own.claims({ sub: `ses_lag${i}`, ...off });
        return TestRobot.ready(own.port, await own.issuer.sign(claims));
      }),
    );
    const order: ('pong' | 'chunk')[] = [];
    await Promise.all(
      robots.map(async (made) => {
        for (let seq = 0; seq < 3; seq++) {
          made.send(observation(seq, jpeg));
          made.socket.once('pong', () => order.push('pong'));
          made.socket.ping();
          await made.answer(seq, 30_000);
          order.push('chunk');
        }
      }),
    );
    expect(order.filter((event) => event === 'chunk')).toHaveLength(18);
    // A loop that waited for the runs would answer after them: six pings come before any chunk.
    expect(order.slice(0, 6)).toEqual(new Array(6).fill('pong'));
    await own.stop();
    await slow.close();
  });
});
