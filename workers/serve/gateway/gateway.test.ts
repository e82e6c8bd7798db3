import { networkInterfaces } from 'node:os';
import { Ndarray, ROBOT_PATH, type WireObservation } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { silent } from '../ledger/testing/entries.ts';
import { armSpec, jpegOf, observation, TestRobot } from '../testing/robots.ts';
import { startWorker, storePolicy, type TestWorker } from '../testing/worker.ts';
import { serveMetricsAt } from './metrics-server.ts';
import type { TokenOverrides } from './testing/issuer.ts';

let worker: TestWorker;
let jpeg: Uint8Array<ArrayBuffer>;
let sessions = 0;
/** What the worker's calendar is ahead of the keys', ms. */
let ahead = 0;
beforeAll(async () => {
  worker = await startWorker({
    clock: { now: () => performance.now(), wall: () => Date.now() + ahead },
  });
  jpeg = await jpegOf();
});
afterAll(() => worker.stop());

const session = () => `ses_${++sessions}`;
async function robot(over: Parameters<TestWorker['claims']>[0] = {}) {
  return TestRobot.ready(
    worker.port,
    await worker.issuer.sign(worker.claims({ sub: session(), ...over })),
  );
}

/** What is on record of a session's policy version. */
async function faultsOf(sub: string) {
  await worker.ledger.flush(5000);
  const entries = [...worker.sink.entries.values()];
  return entries.filter((entry) => entry.kind === 'fault' && entry.session_id === sub);
}

describe('connecting', () => {
  it('welcomes a robot once its policy is there, by header or by subprotocol', async () => {
    for (const how of ['header', 'protocol'] as const) {
      const claims = worker.claims({ sub: session() });
      const made = await TestRobot.open(worker.port, await worker.issuer.sign(claims), how);
      const welcome = await made.next('welcome');
      expect(made.socket.protocol).toBe('armature.v1');
      expect(welcome).toMatchObject({
        session_id: claims.sub,
        epoch: 1,
        worker: 'serve-test',
        policy_version: 'pv_one',
        stats_hash: 's1',
        preprocess_hash: 'p1',
        embodiment: claims.embodiment.spec,
      });
      expect(made.frames[0]?.type).toBe('loading');
      made.close();
    }
  });

  it('speaks its dialect where others are offered too, and refuses where it is not', async () => {
    const answer = async (offered: string[]) => {
      const token = await worker.issuer.sign(worker.claims({ sub: session() }));
      return new Promise<string>((resolve, reject) => {
        const socket = new WebSocket(`ws://127.0.0.1:${worker.port}${ROBOT_PATH}`, offered, {
          headers: { authorization: `Bearer ${token}` },
        });
        socket.on('open', () => {
          resolve(socket.protocol);
          socket.close();
        });
        socket.on('error', reject);
        socket.on('unexpected-response', (_, response) => {
          let body = '';
          response.on('data', (data: Buffer) => (body += data.toString()));
          response.on('end', () => {
            const { code } = JSON.parse(body) as { code: string };
            resolve(`${String(response.statusCode)} ${code}`);
          });
        });
      });
    };
    expect(await answer(['armature.v2'])).toBe('400 invalid_request');
    expect(await answer(['armature.v2', 'armature.v1'])).toBe('armature.v1');
    expect(await answer(['armature.v1', 'other'])).toBe('armature.v1');
  });

  it.each<[string, TokenOverrides, string]>([
    ['that has expired', { expiresIn: -60 }, 'expired_token'],
    ['of another type', { typ: 'JWT' }, 'invalid_token'],
    ['for another audience', { aud: 'armature-api' }, 'invalid_token'],
    ['of another issuer', { iss: 'somebody' }, 'invalid_token'],
    ['of an unknown key', { kid: '../../etc/passwd' }, 'invalid_token'],
    ['without an id', { withoutJti: true }, 'invalid_token'],
  ])('refuses a token %s', async (_, over, code) => {
    const token = await worker.issuer.sign(worker.claims({ sub: session() }), over);
    await expect(TestRobot.open(worker.port, token)).rejects.toMatchObject({ code, status: 401 });
  });

  it('refuses tokens signed by anything but the issuer’s key, and none at all', async () => {
    const claims = worker.claims({ sub: session() });
    const good = await worker.issuer.sign(claims);
    const [, payload = '', signature = ''] = good.split('.');
    const none = Buffer.from('{"alg":"none","typ":"armature-session+jwt"}').toString('base64url');
    for (const token of [
      await worker.issuer.signHs256(claims),
      await worker.issuer.signForged(claims),
      `${none}.${payload}.`,
      `${none}.${payload}.${signature}`,
      'rubbish',
    ]) {
      await expect(TestRobot.open(worker.port, token)).rejects.toMatchObject({
        code: 'invalid_token',
      });
    }
    await expect(TestRobot.open(worker.port, '')).rejects.toMatchObject({ code: 'missing_token' });
  });

  it('does not ask for keys again for every unknown key id', async () => {
    const before = worker.issuer.counters.fetches;
    for (let i = 0; i < 20; i++) {
      const token = await worker.issuer.sign(worker.claims({ sub: session() }), { kid: `k${i}` });
      await expect(TestRobot.open(worker.port, token)).rejects.toMatchObject({
        code: 'invalid_token',
      });
    }
    expect(worker.issuer.counters.fetches - before).toBeLessThanOrEqual(1);
  });

  it('says so when a policy cannot be served, and closes', async () => {
    const claims = worker.claims({ sub: session() });
    const gone = { ...claims, policy: { ...claims.policy, prefix: 'tenants/ten_a/policies/x/' } };
    const lost = await TestRobot.open(
      worker.port,
      await worker.issuer.sign({
        ...gone,
        policy: { ...gone.policy, digest: 'x' },
      }),
    );
    expect(await lost.next('error')).toMatchObject({ code: 'not_found' });
    expect((await lost.closed).code).toBe(1008);

    const foreign = worker.claims({ sub: session(), tenant: 'ten_b' }, 'theirs');
    const thief = await TestRobot.open(
      worker.port,
      await worker.issuer.sign({ ...foreign, tenant: 'ten_a' }),
    );
    expect(await thief.next('error')).toMatchObject({ code: 'forbidden' });
    expect((await thief.closed).code).toBe(1008);
    // What a version lacks is on record, what a caller has no right to is none of its faults.
    expect(await faultsOf(claims.sub)).toMatchObject([
      { id: `${claims.sub}:1:load`, policy_version_id: 'pv_one', fault: 'load_failed' },
    ]);
    expect(await faultsOf(foreign.sub)).toEqual([]);
  });

  it('answers health, readiness and metrics over HTTP', async () => {
    const get = async (path: string) => fetch(`http://127.0.0.1:${worker.port}${path}`);
    expect(await (await get('/healthz')).text()).toBe('OK\n');
    expect((await get('/readyz')).status).toBe(200);
    expect((await get('/v1/robot')).status).toBe(426);
    expect((await get('/nothing')).status).toBe(404);
    const metrics = await (await get('/metrics')).text();
    for (const name of ['chunk_e2e_seconds_bucket', 'event_loop_lag_seconds', 'rss_bytes']) {
      expect(metrics).toContain(name);
    }
  });
});

describe('metrics', () => {
  it('are shown to this machine alone, not to whom a proxy of it asks for', async () => {
    for (const header of ['X-Forwarded-For', 'Forwarded']) {
      const headers = { [header]: '192.0.2.7' };
      const answer = await fetch(`http://127.0.0.1:${worker.port}/metrics`, { headers });
      expect(answer.status).toBe(404);
    }
    const [elsewhere] = Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .filter(({ internal, family }) => !internal && family === 'IPv4');
    if (elsewhere === undefined) return;
    const open = await startWorker({ host: '0.0.0.0' });
    const status = async (host: string, path: string) =>
      (await fetch(`http://${host}:${open.port}${path}`)).status;
    expect(await status(elsewhere.address, '/metrics')).toBe(404);
    expect(await status(elsewhere.address, '/readyz')).toBe(200);
    expect(await status('127.0.0.1', '/metrics')).toBe(200);
    await open.stop();
  });

  it('are shown on a port of their own, and nothing else there', async () => {
    const server = await serveMetricsAt({
      metrics: worker.metrics,
      host: '127.0.0.1',
      port: 0,
      log: silent,
    });
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const get = (path: string) => fetch(`http://127.0.0.1:${address.port}${path}`);
    expect(await (await get('/metrics')).text()).toContain('chunk_e2e_seconds_bucket');
    for (const path of ['/', '/healthz', '/v1/robot']) expect((await get(path)).status).toBe(404);
    server.closeAllConnections();
    server.close();
  });
});

describe('a session', () => {
  it('answers an observation with a checked chunk and the reasoning that drove it', async () => {
    const made = await robot();
    made.send(observation(0, jpeg));
    const chunk = await made.next('chunk');
    expect(chunk.seq).toBe(0);
    expect(chunk.actions.shape).toEqual([8, 2]);
    expect(chunk.reasoning).toMatchObject({ text: 'to lift the cup' });
    expect(chunk.timings.batch).toBe(1);
    expect(chunk.timings.total_ms).toBeGreaterThanOrEqual(chunk.timings.infer_ms);
    made.close();
  });

  it('gives the policy pictures of its own size, the state, and the last command', async () => {
    const made = await robot();
    made.send(observation(0, jpeg));
    const first = await made.next('chunk');
    made.send(observation(1, jpeg, { executed: { chunk_id: first.chunk_id, steps: 3 } }));
    await made.next('chunk');
    const [before, after] = worker.runtime.runs.slice(-2).map((run) => run.rows[0]);
    expect(before?.images['front']?.length).toBe(32 * 32 * 3);
    expect(before?.lastCommand).toBeUndefined();
    expect(after?.lastCommand).toEqual(first.actions.toFloat32().slice(4, 6));
    expect(after?.state).toEqual(Float32Array.of(0.5, -0.5));
    made.close();
  });

  it('gives the policy the state of the observation before, by the robot’s own clock', async () => {
    const made = await robot();
    for (const [seq, captured_at] of [5_000, 5_100, 5_150].entries()) {
      const state = Ndarray.float32(Float32Array.of(seq / 4, -0.5));
      made.send(observation(seq, jpeg, { captured_at, state }));
      await made.next('chunk');
    }
    const rows = worker.runtime.runs.slice(-3).map((run) => run.rows[0]);
    const hz = rows[0]?.policy.manifest.spec.control_hz ?? Number.NaN;
    expect(rows[0]?.earlier).toBeUndefined();
    expect(rows[1]?.earlier).toEqual({ state: Float32Array.of(0, -0.5), periods: 0.1 * hz });
    expect(rows[2]?.earlier).toEqual({ state: Float32Array.of(0.25, -0.5), periods: 0.05 * hz });
    made.close();
  });

  const nan = Ndarray.float32(Float32Array.of(0, NaN));
  it.each<[string, Partial<WireObservation>, string, string]>([
    ['no picture of a camera', { images: {} }, 'missing_camera', 'images.front'],
    [
      'a state of another length',
      { state: Ndarray.float32(new Float32Array(3)) },
      'invalid_state',
      'state',
    ],
    ['a state that is not a number', { state: nan }, 'invalid_state', 'state[1]'],
    [
      'a picture of an unknown camera',
      { images: { front: { jpeg: Buffer.from([0xff, 0xd8]) }, rear: { jpeg: new Uint8Array() } } },
      'invalid_observation',
      'images.rear',
    ],
    [
      'pixels of another size',
      { images: { front: { pixels: Ndarray.uint8(new Uint8Array(64 * 64 * 3), [64, 64, 3]) } } },
      'invalid_observation',
      'images.front.pixels',
    ],
    [
      'pixels of another type',
      {
        images: { front: { pixels: Ndarray.float32(new Float32Array(48 * 64 * 3), [48, 64, 3]) } },
      },
      'invalid_observation',
      'images.front.pixels',
    ],
    [
      'a damaged JPEG',
      { images: { front: { jpeg: Buffer.from([0xff, 0xd8, 0xff, 0xe0, 1, 2, 3]) } } },
      'invalid_observation',
      'images.front',
    ],
    [
      'a chunk that never was',
      { executed: { chunk_id: 'elsewhere', steps: 1 } },
      'invalid_observation',
      'executed.chunk_id',
    ],
  ])('refuses %s by name, and goes on', async (_, over, code, field) => {
    const made = await robot();
    made.send(observation(0, jpeg, over));
    expect(await made.next('error')).toMatchObject({ code, field, seq: 0 });
    made.send(observation(1, jpeg));
    expect((await made.next('chunk')).seq).toBe(1);
    made.close();
  });

  it('refuses a JPEG of another size and a truncated one, and goes on', async () => {
    const made = await robot();
    made.send(observation(0, await jpegOf(32, 32)));
    expect(await made.next('error')).toMatchObject({
      code: 'invalid_observation',
      field: 'images.front',
      message: expect.stringContaining('32×32') as string,
    });
    const noisy = await jpegOf();
    made.send(observation(1, noisy.subarray(0, noisy.length - 40)));
    expect(await made.next('error')).toMatchObject({ code: 'invalid_observation', seq: 1 });
    made.send(observation(2, jpeg));
    expect((await made.next('chunk')).seq).toBe(2);
    made.close();
  });

  it('takes raw pixels as it takes JPEG', async () => {
    const made = await robot();
    const pixels = Ndarray.uint8(new Uint8Array(48 * 64 * 3).fill(120), [48, 64, 3]);
    made.send(observation(0, jpeg, { images: { front: { pixels } } }));
    await made.next('chunk');
    made.send(observation(1, jpeg));
    await made.next('chunk');
    const [raw, decoded] = worker.runtime.runs.slice(-2).map((run) => run.rows[0]?.images['front']);
    const differences = raw?.map((value, i) => Math.abs(value - (decoded?.[i] ?? 0))) ?? [];
    expect(Math.max(...differences)).toBeLessThanOrEqual(2);
    made.close();
  });

  it('refuses numbers out of order and a first observation without instruction', async () => {
    const made = await robot();
    const { instruction: _, ...bare } = observation(0, jpeg);
    made.send(bare);
    expect(await made.next('error')).toMatchObject({ field: 'instruction' });
    made.send(observation(5, jpeg));
    await made.next('chunk');
    for (const seq of [5, 4]) {
      made.send(observation(seq, jpeg));
      expect(await made.next('error')).toMatchObject({ code: 'invalid_observation', field: 'seq' });
    }
    made.send({ ...bare, seq: 6 });
    expect((await made.next('chunk')).reasoning?.text).toBe('to lift the cup');
    made.close();
  });

  it('refuses an instruction that the model cannot read before it is in a run, and has none then', async () => {
    const made = await robot();
    made.send(observation(0, jpeg));
    await made.next('chunk');
    const runs = worker.runtime.runs.length;
    made.send({ ...observation(1, jpeg), instruction: 'lift the cup '.repeat(40) });
    expect(await made.next('error')).toMatchObject({
      code: 'invalid_observation',
      field: 'instruction',
      seq: 1,
    });
    const { instruction: _, ...bare } = observation(2, jpeg);
    // Not on with the task before, which nobody wants any more.
    made.send(bare);
    expect(await made.next('error')).toMatchObject({ field: 'instruction', seq: 2 });
    expect(worker.runtime.runs).toHaveLength(runs);
    made.send(observation(3, jpeg));
    expect((await made.next('chunk')).seq).toBe(3);
    made.close();
  });

  it('answers rubbish with an error and stays open', async () => {
    const made = await robot();
    made.socket.send('text');
    made.socket.send(Buffer.from([0xc1, 0x00]));
    made.send({ type: 'observation', seq: 'x' });
    made.send({ type: 'unheard-of' });
    for (let i = 0; i < 4; i++) {
      expect(await made.next('error')).toMatchObject({ code: 'invalid_frame' });
    }
    made.send({ type: 'observation', seq: 3 });
    expect(await made.next('error')).toMatchObject({ code: 'invalid_frame', seq: 3 });
    made.send(observation(0, jpeg));
    await made.next('chunk');
    made.close();
  });

  it('closes a socket whose frame is larger than any may be, and no other', async () => {
    const other = await robot();
    const made = await robot();
    made.socket.send(Buffer.alloc(9 * 1024 * 1024));
    expect((await made.closed).code).toBe(1009);
    other.send(observation(0, jpeg));
    await other.next('chunk');
    other.close();
  });

  it('serves a robot whose delay is longer than its chunks', async () => {
    const made = await robot();
    made.send(observation(0, jpeg, { delay: { steps: 10_000, latency_ms: 500_000 } }));
    expect(await made.answer(0)).toMatchObject({ type: 'chunk' });
    made.close();
  });

  it('refuses more observations than the session may send', async () => {
    const made = await robot({ limits: { max_in_flight: 1, max_hz: 1 } });
    for (let seq = 0; seq < 8; seq++) made.send(observation(seq, jpeg));
    expect(await made.answer(7)).toMatchObject({ code: 'rate_limited', retryable: true });
    made.close();
  });

  it('never sends a chunk whose limits are broken beyond repair', async () => {
    const made = await robot({ sub: 'ses_nan' });
    worker.runtime.actions = () => new Float32Array(16).fill(NaN);
    made.send(observation(0, jpeg));
    expect(await made.next('error')).toMatchObject({
      code: 'invalid_action',
      field: 'actions[0].shoulder',
    });
    expect(await faultsOf('ses_nan')).toMatchObject([
      { id: 'ses_nan:1:0', fault: 'not_finite', message: 'step 0 of shoulder is NaN' },
    ]);
    worker.runtime.actions = () => new Float32Array(16).fill(7);
    made.send(observation(1, jpeg));
    const clamped = await made.next('chunk');
    expect(clamped.clamped).toBe(16);
    expect([...clamped.actions.toFloat32()]).toEqual(new Array(16).fill(3));
    worker.runtime.actions = () => new Float32Array(16).fill(0.5);
    made.close();
  });

  it('ends on bye with everything recorded', async () => {
    const made = await robot({ sub: 'ses_bye' });
    for (let seq = 0; seq < 3; seq++) {
      made.send(observation(seq, jpeg));
      await made.next('chunk');
    }
    made.send({ type: 'bye' });
    expect((await made.closed).code).toBe(1000);
    const entries = [...worker.sink.entries.values()].filter((e) => e.session_id === 'ses_bye');
    expect(entries.filter((e) => e.kind === 'usage').map((e) => e.id)).toEqual([
      'ses_bye:1:0',
      'ses_bye:1:1',
      'ses_bye:1:2',
    ]);
    expect(entries.filter((e) => e.kind === 'reasoning')).toHaveLength(3);
    expect(entries[1]).toMatchObject({
      kind: 'usage',
      tenant_id: 'ten_a',
      policy_version_id: 'pv_one',
      reasoning_id: 'ses_bye:1:0',
      actions: 8,
      reasoning_tokens: 4,
    });
  });
});

describe('tokens during a session', () => {
  it('stops serving when the token expires, until it is refreshed', async () => {
    let seq = 0;
    const claims = worker.claims({ sub: session() });
    const made = await TestRobot.ready(worker.port, await worker.issuer.sign(claims));
    ahead = 610_000;
    made.send(observation(0, jpeg));
    expect(await made.next('error')).toMatchObject({ code: 'expired_token', seq: 0 });
    const stale = await worker.issuer.sign(claims, { expiresIn: -60 });
    made.send({ type: 'refresh', token: stale });
    expect(await made.next('error')).toMatchObject({ code: 'expired_token' });
    const fresh = await worker.issuer.sign(claims, { expiresIn: 1200 });
    made.send({ type: 'refresh', token: fresh });
    await expect
      .poll(() => (made.send(observation(++seq, jpeg)), made.answer(seq)))
      .toMatchObject({
        type: 'chunk',
      });
    ahead = 0;
    made.close();
  });

  it('goes on in the epoch of a later token, on the same socket', async () => {
    const claims = worker.claims({ sub: session() });
    const made = await TestRobot.ready(worker.port, await worker.issuer.sign(claims));
    made.send(observation(0, jpeg));
    const first = await made.next('chunk');
    const later = await worker.issuer.sign({ ...claims, epoch: 2 });
    made.send({ type: 'refresh', token: later });
    let seq = 0;
    await expect
      .poll(() => (made.send(observation(++seq, jpeg)), made.answer(seq)), { timeout: 20_000 })
      .toMatchObject({ type: 'chunk', epoch: 2 });
    expect(await made.answer(seq)).toMatchObject({ chunk_id: `${claims.sub}:2:${seq}` });
    made.send(observation(++seq, jpeg, { executed: { chunk_id: first.chunk_id, steps: 2 } }));
    expect(await made.answer(seq)).toMatchObject({ type: 'chunk' });
    expect(worker.runtime.runs.at(-1)?.rows[0]?.lastCommand).toEqual(
      first.actions.toFloat32().slice(2, 4),
    );
    made.send({ type: 'refresh', token: await worker.issuer.sign(claims) });
    expect(await made.next('error')).toMatchObject({ code: 'forbidden', field: 'token' });
    await expect(TestRobot.open(worker.port, later)).rejects.toMatchObject({ code: 'conflict' });
    made.close();
  });

  it('takes no token of another session', async () => {
    const made = await robot();
    const other = await worker.issuer.sign(worker.claims({ sub: session() }));
    made.send({ type: 'refresh', token: other });
    expect(await made.next('error')).toMatchObject({ code: 'forbidden', field: 'token' });
    made.close();
  });
});

describe('a socket that is silent', () => {
  it('is asked for a sign of life, kept while it gives one, and let go when it does not', async () => {
    const busy = await startWorker({ pingEveryMs: 100 });
    const token = async () => busy.issuer.sign(busy.claims({ sub: session() }));
    const alive = await TestRobot.ready(busy.port, await token());
    const dead = await TestRobot.ready(busy.port, await token());
    let pings = 0;
    alive.socket.on('ping', () => (pings += 1));
    dead.socket.pause();
    await expect.poll(() => busy.gateway.sessions, { timeout: 30_000 }).toBe(1);
    expect(pings).toBeGreaterThan(0);
    alive.send(observation(0, jpeg));
    expect(await alive.answer(0)).toMatchObject({ type: 'chunk' });
    alive.close();
    dead.socket.terminate();
    await busy.stop();
  });
});

describe('places', () => {
  it('are free again once their robots are gone, however they went', async () => {
    await expect.poll(() => worker.gateway.sessions, { timeout: 20_000 }).toBe(0);
    const free = worker.gateway.places;
    const [closed, cut, polite] = [await robot(), await robot(), await robot()];
    expect(worker.gateway.places).toEqual({ ...free, ready: free.ready - 3, allocated: 3 });
    closed.close();
    cut.socket.terminate();
    polite.send({ type: 'bye' });
    await expect.poll(() => worker.gateway.places, { timeout: 20_000 }).toEqual(free);
  });
});

describe('epochs', () => {
  it('serves an epoch in one connection only, and lets the later one win', async () => {
    const claims = worker.claims({ sub: session() });
    const first = await TestRobot.ready(worker.port, await worker.issuer.sign(claims));
    first.send(observation(0, jpeg));
    await first.next('chunk');
    await expect(
      TestRobot.open(worker.port, await worker.issuer.sign(claims)),
    ).rejects.toMatchObject({ code: 'conflict', status: 409 });

    const next = { ...claims, epoch: 2 };
    const second = await TestRobot.ready(worker.port, await worker.issuer.sign(next));
    expect((await first.closed).code).toBe(1008);
    second.send(observation(0, jpeg, { executed: { chunk_id: `${claims.sub}:1:0`, steps: 2 } }));
    expect(await second.next('chunk')).toMatchObject({ epoch: 2 });
    await expect(
      TestRobot.open(worker.port, await worker.issuer.sign(claims)),
    ).rejects.toMatchObject({ code: 'conflict' });
    second.close();
  });
});

describe('real-time chunking', () => {
  const off = { reasoning: { when: 'off' } } as const;
  const previousOf = () => worker.runtime.runs.at(-1)?.rows[0]?.previous;

  it('is offered, off until it is asked for, and goes on from what is left of the last chunk', async () => {
    const made = await TestRobot.open(
      worker.port,
      await worker.issuer.sign(worker.claims({ sub: session(), ...off })),
    );
    expect((await made.next('welcome')).chunking).toEqual(['off', 'guided']);
    const ask = async (seq: number, over: Partial<WireObservation>) => {
      made.send(observation(seq, jpeg, over));
      return made.next('chunk');
    };
    const delay = { steps: 2, latency_ms: 200 };
    const first = await ask(0, {});
    const executed = { chunk_id: first.chunk_id, steps: 3 };
    await ask(1, { executed, delay });
    expect(previousOf()).toBeUndefined();

    await ask(2, { executed, chunking: { mode: 'guided' } });
    const left = first.actions.toFloat32().slice(3 * 2);
    expect(previousOf()).toEqual({ actions: left, delay: 2, schedule: 'exp' });
    // It stays in force, with the delay that was told last.
    await ask(3, { executed: { ...executed, steps: 5 }, delay: { ...delay, steps: 1 } });
    expect(previousOf()).toMatchObject({ actions: left.slice(2 * 2), delay: 1 });
    // Nothing is left of the chunk, or nothing is known of it: the sample is free.
    await ask(4, { executed: { ...executed, steps: 8 } });
    expect(previousOf()).toBeUndefined();
    await ask(5, {});
    expect(previousOf()).toBeUndefined();
    await ask(6, { executed, chunking: { mode: 'guided', schedule: 'ones' } });
    expect(previousOf()).toMatchObject({ schedule: 'ones' });
    await ask(7, { executed, chunking: { mode: 'off' } });
    expect(previousOf()).toBeUndefined();
    made.close();
  });

  it('is offered in the trained way by a version that was trained so, with the delay that was told', async () => {
    const policy = storePolicy(worker.store, 'ten_a', 'prefixed', armSpec(), {
      prefix_delay_max: 4,
    });
    const claims = { ...worker.claims({ sub: session(), ...off }), policy };
    const made = await TestRobot.open(worker.port, await worker.issuer.sign(claims));
    expect((await made.next('welcome')).chunking).toEqual(['off', 'guided', 'trained']);
    made.send(observation(0, jpeg, { chunking: { mode: 'trained' } }));
    const first = await made.next('chunk');
    const executed = { chunk_id: first.chunk_id, steps: 3 };
    made.send(observation(1, jpeg, { executed, delay: { steps: 2, latency_ms: 200 } }));
    await made.next('chunk');
    const actions = first.actions.toFloat32().slice(3 * 2);
    expect(previousOf()).toEqual({ actions, delay: 2, schedule: 'trained' });
    made.close();
  });

  it('through the network is refused, or offered by a worker that has graphs for it', async () => {
    const made = await robot(off);
    made.send(observation(0, jpeg, { chunking: { mode: 'pulled_back' } }));
    expect(await made.next('error')).toMatchObject({
      code: 'invalid_request',
      field: 'chunking.mode',
      message: 'this worker has no graphs for chunks that are pulled_back',
      fix: 'Ask for one of: off, guided; or start it with GUIDANCE_PULLED_BACK=on.',
    });
    made.close();
    worker.runtime.pulledBack = true;
    const claims = worker.claims({ sub: session(), ...off });
    const other = await TestRobot.open(worker.port, await worker.issuer.sign(claims));
    expect((await other.next('welcome')).chunking).toEqual(['off', 'guided', 'pulled_back']);
    other.send(observation(0, jpeg, { chunking: { mode: 'pulled_back', schedule: 'linear' } }));
    const first = await other.next('chunk');
    const executed = { chunk_id: first.chunk_id, steps: 3 };
    other.send(observation(1, jpeg, { executed, delay: { steps: 2, latency_ms: 200 } }));
    await other.next('chunk');
    const actions = first.actions.toFloat32().slice(3 * 2);
    const left = { actions, delay: 2, schedule: 'linear' };
    expect(previousOf()).toEqual({ ...left, correction: 'pulled-back' });
    worker.runtime.pulledBack = false;
    other.close();
  });

  it('lets every so many chunks be free, where the robot asks for that', async () => {
    const made = await robot(off);
    made.send(observation(0, jpeg, { chunking: { mode: 'guided', max_in_a_row: 2 } }));
    const free: boolean[] = [];
    let { chunk_id } = await made.next('chunk');
    for (let seq = 1; seq <= 7; seq++) {
      made.send(observation(seq, jpeg, { executed: { chunk_id, steps: 1 } }));
      ({ chunk_id } = await made.next('chunk'));
      free.push(previousOf() === undefined);
    }
    expect(free).toEqual([false, false, true, false, false, true, false]);
    made.close();
  });

  it('in the trained way is refused by a version that was not, and what was in force stays so', async () => {
    const made = await robot(off);
    made.send(observation(0, jpeg, { chunking: { mode: 'guided' } }));
    const executed = { chunk_id: (await made.next('chunk')).chunk_id, steps: 2 };
    made.send(observation(1, jpeg, { executed, chunking: { mode: 'trained' } }));
    expect(await made.next('error')).toMatchObject({
      code: 'invalid_request',
      field: 'chunking.mode',
      seq: 1,
    });
    made.send(observation(2, jpeg, { executed }));
    await made.next('chunk');
    expect(previousOf()).toMatchObject({ schedule: 'exp' });
    made.close();
  });

  it('in a way that there is none is refused with the field, and the session goes on', async () => {
    const made = await robot(off);
    const wrong = { ...observation(0, jpeg), chunking: { mode: 'psychic' } };
    made.send(wrong);
    expect(await made.next('error')).toMatchObject({
      code: 'invalid_frame',
      field: expect.stringContaining('chunking') as string,
    });
    made.send(observation(1, jpeg));
    expect((await made.next('chunk')).seq).toBe(1);
    made.close();
  });
});
