import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, describe, expect, expectTypeOf, it, vi } from 'vitest';
import { ArmatureError, Ndarray, type EmbodimentSpec } from '../../contract/index.ts';
import { FakeWorker, type FakeWorkerOptions } from '../testing/fake-worker.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { arm, jpeg, seen } from '../testing/two-joint-arm.ts';
import { connectRobot, type ConnectWithGrant } from './connect.ts';
import { RobotSession } from './session.ts';

const spec = structuredClone(arm) as unknown as EmbodimentSpec;
const open: (FakeWorker | RobotSession<typeof arm>)[] = [];

afterEach(async () => {
  for (const one of open.splice(0).reverse()) {
    await (one instanceof FakeWorker ? one.stop() : one.close());
  }
});

async function worker(options: Partial<FakeWorkerOptions> = {}): Promise<FakeWorker> {
  const started = await FakeWorker.start({ spec, ...options });
  open.push(started);
  return started;
}

async function connect(
  to: FakeWorker,
  options: Partial<ConnectWithGrant<typeof arm>> = {},
): Promise<RobotSession<typeof arm>> {
  const session = await connectRobot({
    embodiment: arm,
    grant: to.grant(),
    resume: async () => to.grant(),
    reconnect: { baseMs: 10, maxMs: 50, giveUpAfterMs: 3_000 },
    ...options,
  });
  open.push(session);
  return session;
}

/** Machines that run tests are busy: waits for long before it fails. */
const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000 });

async function refusal(promise: Promise<unknown>): Promise<ArmatureError> {
  const error: unknown = await promise.then(
    () => new Error('was not refused'),
    (reason: unknown) => reason,
  );
  if (error instanceof ArmatureError) return error;
  throw error;
}

describe('a way up that is stalled', () => {
  it('takes no more observations, says so at once, and then the newest goes first', async () => {
    const to = await worker();
    const session = await connect(to);
    const picture = new Uint8Array(4 << 20);
    picture.set(jpeg);
    const large = { ...seen(), images: { ...seen().images, top: { jpeg: picture } } };
    const asked: string[] = [];
    const { robot } = to;
    robot.socket.pause();
    // What the machine's own buffers take differs; four of these are beyond any.
    while (!asked.includes('unavailable') && asked.length < 20) {
      asked.push((await refusal(session.act(large, { deadlineMs: 100 }))).code);
    }
    const sent = asked.filter((code) => code === 'timeout').length;
    expect(asked.at(-1)).toBe('unavailable');
    const error = await refusal(session.act({ ...large, instruction: 'an old task' }));
    expect(error).toMatchObject({ code: 'unavailable', retryable: true });
    expect(error.message).toMatch(/have not left/);
    robot.socket.resume();
    await eventually(() => expect(robot.frames).toHaveLength(sent));
    const chunk = await session.act(seen(0.5));
    const newest = robot.frames.at(-1);
    expect(robot.frames).toHaveLength(sent + 1);
    // What was not sent is still told: the task came with it.
    expect(newest).toMatchObject({ seq: chunk.seq, instruction: 'an old task' });
    expect(to.robots).toHaveLength(1);
  });
});

describe('connecting', () => {
  it('shows its token, waits while the policy loads, and knows the worker', async () => {
    const statuses: string[] = [];
    const to = await worker({
      onConnect: (robot, welcome) => {
        robot.send({ type: 'loading', message: 'fetching the policy' });
        setTimeout(welcome, 20);
      },
    });
    const session = await connect(to, {
      onStatus: (status, detail) => statuses.push(`${status} ${detail}`),
    });
    expect(to.robot.token).toBe('token-1');
    expect(session.welcome.worker).toBe('worker-1');
    expect(statuses).toEqual([
      `connecting ${to.url}`,
      'loading fetching the policy',
      'ready worker-1',
    ]);
  });

  it('passes on what the worker refuses', async () => {
    const to = await worker({
      refuse: () =>
        new ArmatureError('invalid_token', 'the session token is not valid', {
          field: 'token',
          fix: 'Use the token of sessions.create.',
        }),
    });
    const error = await refusal(connect(to));
    expect([error.code, error.field, error.requestId]).toEqual(['invalid_token', 'token', 'req_1']);
    const early = await worker({
      onConnect: (robot) =>
        robot.send({
          type: 'error',
          code: 'incompatible_policy',
          message: 'no such graph',
          retryable: false,
        }),
    });
    expect((await refusal(connect(early))).code).toBe('incompatible_policy');
  });

  it('refuses to be another robot', async () => {
    const other = structuredClone(spec);
    other.action[1] = { ...other.action[1]!, name: 'hand' };
    const to = await worker({ spec: other });
    const error = await refusal(connect(to));
    expect([error.code, error.field]).toEqual(['embodiment_mismatch', 'action[1].name']);
  });

  it('refuses to be one that measures in other units', async () => {
    for (const part of ['state', 'action'] as const) {
      const other = structuredClone(spec);
      other[part][0] = { ...other[part][0]!, unit: 'deg' };
      const error = await refusal(connect(await worker({ spec: other })));
      expect([error.code, error.field]).toEqual(['embodiment_mismatch', `${part}[0].unit`]);
      expect(error.message).toMatch(/rad.*deg/);
    }
  });

  it('renews an expired token and tries again where nothing listens yet', async () => {
    let refused = 0;
    const to = await worker({
      refuse: () =>
        refused++ === 0 ? new ArmatureError('expired_token', 'the token has expired') : undefined,
    });
    const errors: string[] = [];
    const session = await connect(to, { onError: (error) => errors.push(error.code) });
    expect([session.status, to.robot.token, errors]).toEqual([
      'ready',
      'token-2',
      ['expired_token'],
    ]);
    const gone = { ...to.grant(), url: 'ws://127.0.0.1:9/v1/robot' };
    const error = await refusal(connectRobot({ embodiment: arm, grant: gone }));
    expect([error.code, error.retryable]).toEqual(['unavailable', true]);
  });

  it('does not wait for ever for a silent worker', async () => {
    const to = await worker({ onConnect: () => undefined });
    const error = await refusal(
      connectRobot({ embodiment: arm, grant: to.grant(), loadingTimeoutMs: 50 }),
    );
    expect(error.code).toBe('timeout');
  });
});

describe('act', () => {
  it('sends what the robot sees and gives typed rows', async () => {
    const to = await worker();
    const session = await connect(to);
    const chunk = await session.act({ ...seen(0.5), instruction: 'lift', capturedAt: 5 }, {});
    expect(to.robot.frames[0]).toEqual({
      type: 'observation',
      seq: 0,
      captured_at: 5,
      images: {
        top: { jpeg },
        wrist: { pixels: Ndarray.uint8(new Uint8Array(192), [8, 8, 3]) },
      },
      state: Ndarray.float32(Float32Array.of(0.5, 0, 1)),
      instruction: 'lift',
    });
    expect(chunk.rows).toHaveLength(8);
    expect(chunk.rows[2]).toEqual({ shoulder: 2, gripper: Math.fround(2.1) });
    expectTypeOf(chunk.rows[0]!.shoulder).toEqualTypeOf<number>();
    expect([chunk.chunkId, chunk.seq, chunk.epoch]).toEqual(['ses_1:1:0', 0, 1]);
    expect(chunk.reasoning?.text).toBe('reach for the cup');
    expect(session.stats).toMatchObject({ chunks: 1, actionsReceived: 8, errors: 0 });
    expect(session.stats.latency.p50).toBeGreaterThan(0);
  });

  it('checks the observation before anything is sent', async () => {
    const to = await worker();
    const session = await connect(to);
    const wrong = seen();
    const blind = { ...wrong, images: { top: wrong.images.top } } as typeof wrong;
    expect(await refusal(session.act(blind))).toMatchObject({
      code: 'missing_camera',
      field: 'images.wrist',
    });
    const lame = { ...wrong, state: { shoulder: 1, elbow: 2 } } as unknown as typeof wrong;
    expect(await refusal(session.act(lame))).toMatchObject({
      code: 'invalid_state',
      field: 'state.gripper',
    });
    const nan = { ...wrong, state: Float32Array.of(0, Number.NaN, 0) };
    expect((await refusal(session.act(nan))).field).toBe('state[1]');
    const small = { ...wrong, images: { ...wrong.images, wrist: { pixels: new Uint8Array(3) } } };
    expect((await refusal(session.act(small))).field).toBe('images.wrist.pixels');
    expect(to.robot.frames).toEqual([]);
    expect((await session.act(seen())).rows).toHaveLength(8);
  });

  it('passes on an error frame and lives on', async () => {
    const to = await worker({
      onObservation: (robot, { seq }) =>
        robot.send(
          seq === 0
            ? {
                type: 'error',
                code: 'invalid_observation',
                message: 'not a JPEG',
                field: 'images.top',
                fix: 'Send a JPEG.',
                retryable: false,
                seq,
              }
            : to.chunk(robot, seq),
        ),
    });
    const session = await connect(to);
    expect(await refusal(session.act(seen()))).toMatchObject({
      code: 'invalid_observation',
      field: 'images.top',
      fix: 'Send a JPEG.',
    });
    expect((await session.act(seen())).seq).toBe(1);
  });

  it('never hands out a late, doubled, foreign or broken chunk', async () => {
    const to = await worker({
      onObservation: (robot, { seq }) => {
        if (seq === 0) return;
        if (seq === 1) {
          robot.send(to.chunk(robot, 0));
          robot.send(to.chunk(robot, 1, 0, { epoch: robot.epoch - 1 }));
          robot.send(to.chunk(robot, 99));
          robot.socket.send('no frame of this dialect');
          robot.socket.send(Uint8Array.of(0xc1));
        }
        robot.send(to.chunk(robot, seq, seq));
        robot.send(to.chunk(robot, seq, seq));
      },
    });
    const session = await connect(to);
    expect((await refusal(session.act(seen(), { deadlineMs: 30 }))).code).toBe('timeout');
    expect((await session.act(seen())).rows[0]?.shoulder).toBe(1);
    expect((await session.act(seen())).rows[0]?.shoulder).toBe(2);
    await eventually(() =>
      expect(session.stats.dropped).toEqual({ late: 1, duplicate: 2, foreign: 2, invalid: 2 }),
    );
    expect(session.stats.chunks).toBe(2);
  });

  it('refuses a chunk of another shape or with a value that is not finite', async () => {
    const bad = [
      Ndarray.float32(new Float32Array(14), [7, 2]),
      Ndarray.float32(new Float32Array(16).fill(1).fill(Number.NaN, 5, 6), [8, 2]),
    ];
    const to = await worker({
      onObservation: (robot, { seq }) =>
        robot.send(to.chunk(robot, seq, 0, { actions: bad[seq]! })),
    });
    const session = await connect(to);
    expect(await refusal(session.act(seen()))).toMatchObject({
      code: 'invalid_action',
      field: 'actions',
    });
    expect((await refusal(session.act(seen()))).field).toBe('actions[5]');
  });

  it('an older question is given up when a newer one is answered', async () => {
    const to = await worker({
      onObservation: (robot, { seq }) => {
        if (seq !== 1) return;
        robot.send(to.chunk(robot, 1));
        robot.send(to.chunk(robot, 0));
      },
    });
    const session = await connect(to);
    const [older, newer] = await Promise.all([refusal(session.act(seen())), session.act(seen())]);
    expect([older.code, older.field, newer.seq]).toEqual(['cancelled', 'seq', 1]);
    await eventually(() => expect(session.stats.dropped.late).toBe(1));
  });

  it('sends its deadline and ends with its signal', async () => {
    const to = await worker({ onObservation: () => undefined });
    const session = await connect(to);
    const stop = new AbortController();
    const asked = refusal(session.act(seen(), { deadlineMs: 5_000, signal: stop.signal }));
    await eventually(() => expect(to.robot.frames).toHaveLength(1));
    stop.abort();
    expect((await asked).code).toBe('cancelled');
    expect(to.robot.frames[0]).toMatchObject({ deadline_ms: 5_000 });
    const old = { ...seen(), capturedAt: Date.now() - 1_000 };
    expect((await refusal(session.act(old, { deadlineMs: 500 }))).code).toBe('timeout');
    expect(to.robot.frames).toHaveLength(1);
  });

  it('reports what was executed', async () => {
    const to = await worker();
    const session = await connect(to);
    const chunk = await session.act(seen());
    expect(() => session.report(chunk, 9)).toThrow(/no step 9/);
    session.report(chunk, 3);
    await session.act(seen());
    session.report(chunk, 4, { shoulder: 0.25, gripper: 0.5 });
    await session.act(seen());
    expect(to.robot.frames.slice(1).map((f) => 'executed' in f && f.executed)).toEqual([
      { chunk_id: 'ses_1:1:0', steps: 3 },
      {
        chunk_id: 'ses_1:1:0',
        steps: 4,
        last_command: Ndarray.float32(Float32Array.of(0.25, 0.5)),
      },
    ]);
  });
});

describe('keeping the connection', () => {
  it('reconnects with a new epoch, and the worker still learns the last command', async () => {
    const to = await worker();
    const statuses: string[] = [];
    const session = await connect(to, { onStatus: (status) => statuses.push(status) });
    const first = await session.act(seen());
    session.report(first, 2);
    to.options.onObservation = (robot) => robot.socket.terminate();
    expect(await refusal(session.act(seen()))).toMatchObject({
      code: 'unavailable',
      retryable: true,
    });
    delete to.options.onObservation;
    const second = await session.act(seen());
    expect([first.epoch, second.epoch]).toEqual([1, 2]);
    expect(second.seq).toBeGreaterThan(first.seq);
    expect(to.robot.frames[0]).toMatchObject({
      executed: {
        chunk_id: 'ses_1:1:0',
        steps: 2,
        last_command: Ndarray.float32(Float32Array.of(1, 1.1)),
      },
    });
    expect(session.stats.reconnects).toBe(1);
    expect(statuses).toEqual(['connecting', 'ready', 'reconnecting', 'ready']);
  });

  it('tells the task in force to the next worker too', async () => {
    const to = await worker();
    const session = await connect(to);
    await session.act({ ...seen(), instruction: 'lift' });
    await session.act(seen());
    expect(to.robot.frames[1]).not.toHaveProperty('instruction');
    to.options.onObservation = (robot) => robot.socket.terminate();
    await refusal(session.act(seen()));
    delete to.options.onObservation;
    await session.act(seen());
    expect(to.robot.frames[0]).toMatchObject({ instruction: 'lift' });
  });

  it('moves to another worker before the one that drains has left', async () => {
    const to = await worker();
    const session = await connect(to);
    await session.act(seen());
    const old = to.robot;
    old.send({ type: 'drain', reason: 'deploy', resume: 'what it knew' });
    await eventually(() => expect(session.stats.reconnects).toBe(1));
    expect((await session.act(seen())).epoch).toBe(2);
    await session.act(seen());
    expect(to.robot.frames.map((frame) => 'resume' in frame && frame.resume)).toEqual([
      'what it knew',
      false,
    ]);
    await eventually(() => expect(old.socket.readyState).toBe(old.socket.CLOSED));
    expect(session.status).toBe('ready');
  });

  it('has the answer that a worker owes when the session goes over, and waits for none that does not come', async () => {
    const to = await worker();
    const session = await connect(to, { requestTimeoutMs: 60_000 });
    await session.act(seen());
    const old = to.robot;
    const asked: number[] = [];
    to.options.onObservation = (robot, { seq }) => {
      if (robot === old) asked.push(seq);
      else robot.send(to.chunk(robot, seq));
    };
    const owed = session.act(seen());
    await eventually(() => expect(asked).toEqual([1]));
    old.send({ type: 'drain', reason: 'deploy', resume: 'what it knew' });
    await eventually(() => expect(session.stats.reconnects).toBe(1));
    expect((await session.act(seen())).epoch).toBe(2);
    old.send(to.chunk(old, 1));
    expect((await owed).epoch).toBe(1);
    await eventually(() => expect(old.socket.readyState).toBe(old.socket.CLOSED));

    const second = to.robot;
    to.options.onObservation = () => undefined;
    const lost = session.act(seen()).catch((error: unknown) => error);
    second.send({ type: 'drain', reason: 'deploy', resume: 'what it knew' });
    expect(await lost).toMatchObject({ code: 'unavailable', retryable: true });
    expect(session.status).toBe('ready');
  });

  it('renews its token on the socket before it runs out', async () => {
    const to = await worker();
    to.tokenLifetimeMs = 200;
    const session = await connect(to);
    await eventually(() => expect(to.robot.frames.length).toBeGreaterThanOrEqual(2));
    expect(session.stats.refreshes).toBeGreaterThanOrEqual(2);
    expect(to.robots).toHaveLength(1);
    expect(to.robot.frames.slice(0, 2)).toEqual([
      { type: 'refresh', token: 'token-2' },
      { type: 'refresh', token: 'token-3' },
    ]);
    to.options.onObservation = (robot, { seq }) =>
      robot.send(to.chunk(robot, seq, 0, { epoch: seq === 0 ? 1 : 3 }));
    expect((await session.act(seen())).epoch).toBe(1);
    expect((await session.act(seen())).epoch).toBe(3);
  });

  it('asks for another worker than the one that is gone or full, and for no other where its own is there', async () => {
    const [gone, full, free] = [await worker(), await worker(), await worker()];
    full.options.refuse = () => new ArmatureError('unavailable', 'no room');
    const first = gone.grant();
    const fullUrl = full.grant().url;
    const wishes: unknown[] = [];
    const session = await connect(gone, {
      grant: first,
      resume: async (wish) => {
        wishes.push(wish);
        if (wish?.avoid_url === first.url) return full.grant();
        if (wish?.avoid_url === fullUrl) return free.grant();
        return { ...free.grant(), url: first.url };
      },
    });
    gone.robot.socket.terminate();
    await eventually(() => expect(session.stats.reconnects).toBe(1));
    expect(wishes).toEqual([undefined]);
    await gone.stop();
    await eventually(() => expect(session.stats.reconnects).toBe(2));
    expect(free.robots).toHaveLength(1);
    expect(wishes).toEqual([
      undefined,
      undefined,
      { avoid_url: first.url },
      { avoid_url: fullUrl },
    ]);
  });

  it('replaces a connection on which nothing is heard any more, though neither end was told', async () => {
    const to = await worker({
      onObservation: (robot, { seq }) => {
        if (robot.epoch > 1) robot.send(to.chunk(robot, seq));
      },
    });
    const session = await connect(to);
    for (let asked = 0; asked < 3; asked += 1) {
      const error = await refusal(session.act(seen(), { deadlineMs: 800 }));
      expect(error.code).toBe('timeout');
      expect(to.robots).toHaveLength(1);
    }
    const left = once(to.robot.socket, 'close');
    await eventually(() => expect(session.stats.reconnects).toBe(1));
    expect((await session.act(seen())).epoch).toBe(2);
    expect(await left).toEqual([1000, Buffer.from('replaced')]);
    expect(session.status).toBe('ready');
  });

  it('keeps a connection whose worker says that it is late', async () => {
    const to = await worker({
      onObservation: (robot, { seq }) => setTimeout(() => robot.send(to.chunk(robot, seq)), 900),
    });
    const session = await connect(to);
    for (let asked = 0; asked < 4; asked += 1) {
      expect((await refusal(session.act(seen(), { deadlineMs: 800 }))).code).toBe('timeout');
    }
    expect(to.robots).toHaveLength(1);
  });

  it('waits as its random numbers have it, so that a fleet does not come back at once', async () => {
    const attemptsWith = async (random: number): Promise<number[]> => {
      const clock = new VirtualClock();
      const to = await worker();
      const attempts: number[] = [];
      const session = RobotSession.open({
        embodiment: arm,
        grant: to.grant(),
        resume: async () => to.grant(),
        end: undefined,
        connectTimeoutMs: 1_000,
        loadingTimeoutMs: 1_000,
        requestTimeoutMs: 1_000,
        reconnect: { baseMs: 100, maxMs: 800, giveUpAfterMs: 2_000 },
        chunking: undefined,
        onStatus: undefined,
        onError: undefined,
        onReasoning: undefined,
        ports: {
          clock,
          wall: () => Date.now(),
          random: () => random,
          openSocket: async () => {
            attempts.push(clock.now());
            throw new ArmatureError('unavailable', 'nobody is there');
          },
        },
      });
      await refusal(clock.until(session));
      return attempts;
    };
    expect((await attemptsWith(0)).slice(0, 6)).toEqual([0, 50, 150, 350, 750, 1_150]);
    expect((await attemptsWith(0.5)).slice(0, 5)).toEqual([0, 75, 225, 525, 1_125]);
  });

  it('gives up when the control plane says that the session has ended', async () => {
    const to = await worker();
    const session = await connect(to, {
      resume: async () => {
        throw new ArmatureError('conflict', 'the session has ended');
      },
    });
    to.robot.socket.terminate();
    await eventually(() => expect(session.status).toBe('closed'));
    expect(await refusal(session.act(seen()))).toMatchObject({
      code: 'conflict',
      message: 'the session has ended',
    });
  });

  it('gives up in the end where no worker comes back', async () => {
    const to = await worker();
    const session = await connect(to, { reconnect: { baseMs: 5, maxMs: 20, giveUpAfterMs: 100 } });
    to.options.refuse = () => new ArmatureError('unavailable', 'no room');
    to.robot.socket.terminate();
    await eventually(() => expect(session.status).toBe('closed'));
    expect((await refusal(session.act(seen()))).message).toBe('no room');
  });

  it('does not hammer a worker that welcomes and drops', async () => {
    const to = await worker({
      onConnect: (robot, welcome) => {
        welcome();
        setTimeout(() => robot.socket.terminate(), 1);
      },
    });
    await connect(to, { reconnect: { baseMs: 100, maxMs: 1_000, giveUpAfterMs: 3_000 } });
    await wait(400);
    expect(to.robots.length).toBeLessThan(6);
  });

  it('says goodbye, once, and tells callers that wait', async () => {
    const to = await worker({ onObservation: () => undefined });
    const session = await connect(to);
    const asked = refusal(session.act(seen()));
    await eventually(() => expect(to.robot.frames).toHaveLength(1));
    await session.close();
    await session.close();
    expect((await asked).code).toBe('unavailable');
    expect(to.robot.frames.at(-1)).toEqual({ type: 'bye' });
    expect((await refusal(session.act(seen()))).code).toBe('unavailable');
    await wait(50);
    expect(to.robots).toHaveLength(1);
  });
});

describe('real-time chunking', () => {
  it('is told to every worker of the session with its first observation', async () => {
    const to = await worker({ chunking: ['off', 'guided'] });
    const session = await connect(to, { chunking: { mode: 'guided', schedule: 'linear' } });
    await session.act(seen());
    await session.act(seen());
    to.robots[0]?.socket.terminate();
    await eventually(() => expect(to.robots).toHaveLength(2));
    await session.act(seen());
    const told = to.robots.map(({ frames }) =>
      frames.map((frame) => (frame.type === 'observation' ? frame.chunking : undefined)),
    );
    const guided = { mode: 'guided', schedule: 'linear' };
    expect(told).toEqual([[guided, undefined], [guided]]);
  });

  it('is refused where the worker would leave it out without a word', async () => {
    const to = await worker();
    const error = await refusal(connect(to, { chunking: { mode: 'guided' } }));
    expect([error.code, error.field]).toEqual(['invalid_request', 'chunking.mode']);
    await eventually(() => expect(to.robots[0]?.frames.at(-1)?.type).toBe('bye'));
    const misspelt = { mode: 'guided', max_in_a_rwo: 3 } as const;
    const named = await refusal(connect(to, { chunking: misspelt }));
    expect(named.code).toBe('invalid_request');
    expect(named.message).toMatch(/max_in_a_rwo/);
    const plain = await connect(to, { chunking: { mode: 'off' } });
    expect((await plain.act(seen())).rows).toHaveLength(spec.horizon);
  });
});
