import { Armature, connectRobot } from '@armature/sdk';
import type { SessionGrant } from '@armature/sdk/contract';
import { connect } from '@armature/db';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { armSpec, jpegOf, observation, TestRobot } from '../workers/serve/testing/robots.ts';
import { startWorker, storePolicy, type TestWorker } from '../workers/serve/testing/worker.ts';
import { EndedSessions } from '../workers/serve/ledger/index.ts';
import { startTestApi, type TestApi } from './support/api.ts';
import { addPolicyVersion, addServeWorker } from './support/rows.ts';

/** What a session token that somebody else got hold of opens, on a real control plane and two workers. */
const SLOW = 120_000;
/** Longer than a test needs a token, shorter than one waits for its renewal; s. */
const TOKEN_LIFE_S = 6;
const IDS = ['serve-a', 'serve-b'] as const;
type Id = (typeof IDS)[number];

let api: TestApi;
let workers: Record<Id, TestWorker>;
let client: Armature;
let session: { robot: string; embodiment_id: string; policy_version_id: string };
let jpeg: Awaited<ReturnType<typeof jpegOf>>;

beforeAll(async () => {
  api = await startTestApi({ sessionTokenLifeS: TOKEN_LIFE_S });
  const jwksUrl = `${api.url}/.well-known/jwks.json`;
  const [a, b] = [
    await startWorker({ worker: 'serve-a', jwksUrl }),
    await startWorker({ worker: 'serve-b', jwksUrl }),
  ];
  workers = { 'serve-a': a, 'serve-b': b };
  const { id: tenant, key } = await api.tenant();
  client = new Armature({ apiUrl: api.url, apiKey: key });
  const embodiment = await client.embodiments.create({ spec: armSpec() });
  const stored = storePolicy(a.store, tenant, 'replayed');
  storePolicy(b.store, tenant, 'replayed');
  const version = await addPolicyVersion(api.db.worker, tenant, embodiment.id, stored);
  session = { robot: 'r', embodiment_id: embodiment.id, policy_version_id: version };
  jpeg = await jpegOf();
  beating = setInterval(() => void place(...placed), 2_000);
}, SLOW);
afterAll(async () => {
  clearInterval(beating);
  for (const worker of Object.values(workers)) await worker.stop();
  await api.stop();
}, SLOW);

let placed: readonly Id[] = [];
let beating: NodeJS.Timeout;

/** Lets the control plane place sessions at these workers alone. */
async function place(...ready: Id[]): Promise<void> {
  placed = ready;
  for (const id of IDS) {
    await addServeWorker(
      api.db.worker,
      id,
      `ws://127.0.0.1:${workers[id].port}/v1/robot`,
      ready.includes(id) ? 'ready' : 'draining',
    );
  }
}

async function granted(at: Id): Promise<SessionGrant> {
  await place(at);
  return client.sessions.create({ ...session, reasoning: { when: 'off' } });
}

const opens = (at: Id, { token }: Pick<SessionGrant, 'token'>): Promise<TestRobot> =>
  TestRobot.ready(workers[at].port, token);

/** How an attempt to open a connection is answered. */
async function answer(at: Id, grant: Pick<SessionGrant, 'token'>): Promise<unknown> {
  return TestRobot.open(workers[at].port, grant.token).then(
    (robot) => (robot.close(), 'opened'),
    (error: unknown) => JSON.parse((error as Error).message) as unknown,
  );
}

async function acts(robot: TestRobot, seq: number): Promise<void> {
  robot.send(observation(seq, jpeg));
  expect(await robot.answer(seq)).toMatchObject({ type: 'chunk', seq });
}

const used = {
  code: 'conflict',
  field: 'epoch',
  fix: 'Resume the session through the control plane for the next epoch.',
};
const elsewhere = {
  code: 'forbidden',
  field: 'worker',
  fix: expect.stringContaining('Connect to the url that the token came with') as string,
};

/** A worker looks which sessions have ended, as its process does every few seconds. */
const looks = (id: Id, db = api.db.worker): Promise<void> =>
  new EndedSessions({
    db,
    worker: id,
    connected: () => workers[id].gateway.connected,
    onEnded: (sessions) => workers[id].gateway.endSessions(sessions),
    log: { warn: (_, message) => warned.push(message) },
  }).look();
const warned: string[] = [];

const cutOff = { code: 1008, reason: 'the session has ended' };

const replacedAt = async (id: Id): Promise<number> => {
  const text = await workers[id].metrics.registry.metrics();
  return Number(/^sessions_replaced_total (\d+)/m.exec(text)?.[1]);
};

describe('a stolen session token', { timeout: SLOW }, () => {
  it('opens nothing at a second worker, nor keeps a place or renews a connection there', async () => {
    const grant = await granted('serve-a');
    expect(await answer('serve-b', grant)).toMatchObject(elsewhere);
    const announced = await fetch(`http://127.0.0.1:${workers['serve-b'].port}/v1/allocations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${grant.token}` },
    });
    expect(announced.status).toBe(403);
    // As the key of an openpi client.
    const asOpenpi = await fetch(`http://127.0.0.1:${workers['serve-b'].port}/`, {
      headers: {
        authorization: `Api-Key ${grant.token}`,
        connection: 'upgrade',
        upgrade: 'websocket',
      },
    }).catch(() => undefined);
    expect(asOpenpi?.status).not.toBe(101);
    const robot = await opens('serve-a', grant);
    await acts(robot, 0);
    await place('serve-b');
    const moved = await client.sessions.resume({ id: grant.session.id });
    robot.send({ type: 'refresh', token: moved.token });
    expect(await robot.next('error')).toMatchObject(elsewhere);
    await acts(robot, 1);
    robot.close();
  });

  it('opens nothing at its worker while the robot is connected, which goes on', async () => {
    const grant = await granted('serve-a');
    const robot = await opens('serve-a', grant);
    expect(await answer('serve-a', grant)).toMatchObject(used);
    await acts(robot, 0);
    expect(await answer('serve-a', grant)).toMatchObject(used);
    await acts(robot, 1);
    robot.close();
  });

  it('opens nothing after bye, after a cut, nor after a later epoch took its place', async () => {
    const grant = await granted('serve-a');
    const robot = await opens('serve-a', grant);
    robot.send({ type: 'bye' });
    await robot.closed;
    expect(await answer('serve-a', grant)).toMatchObject(used);

    const second = await client.sessions.resume({ id: grant.session.id });
    const cut = await opens('serve-a', second);
    cut.socket.terminate();
    await expect.poll(() => workers['serve-a'].gateway.sessions, { timeout: SLOW }).toBe(0);
    expect(await answer('serve-a', second)).toMatchObject(used);

    const third = await client.sessions.resume({ id: grant.session.id });
    const early = await opens('serve-a', third);
    const fourth = await client.sessions.resume({ id: grant.session.id });
    const before = await replacedAt('serve-a');
    const late = await opens('serve-a', fourth);
    expect(await early.closed).toEqual({
      code: 1008,
      reason: 'the session goes on in another connection',
    });
    expect(await replacedAt('serve-a')).toBe(before + 1);
    for (const old of [grant, second, third, fourth]) {
      expect(await answer('serve-a', old)).toMatchObject(used);
    }
    late.close();
  });

  it('opens nothing once it has renewed a connection', async () => {
    const grant = await granted('serve-a');
    const robot = await opens('serve-a', grant);
    const renewal = await client.sessions.resume({ id: grant.session.id, worker: 'serve-a' });
    robot.send({ type: 'refresh', token: renewal.token });
    // Before it is renewed the token would open another connection: chunks say when.
    let seq = 0;
    const epoch = async (): Promise<number> => {
      robot.send(observation(seq, jpeg));
      const chunk = await robot.answer(seq++);
      return chunk.type === 'chunk' ? chunk.epoch : NaN;
    };
    await expect.poll(epoch, { timeout: SLOW, interval: 50 }).toBe(renewal.session.epoch);
    expect(await answer('serve-a', { token: renewal.token })).toMatchObject(used);
    await acts(robot, seq);
    robot.close();
  });

  it('opens nothing after sessions.end where it was used, and one that was not gets no successor', async () => {
    const grant = await granted('serve-a');
    const robot = await opens('serve-a', grant);
    const unused = await client.sessions.resume({ id: grant.session.id });
    await client.sessions.end({ id: grant.session.id });
    robot.close();
    expect(await answer('serve-a', grant)).toMatchObject(used);
    expect(await answer('serve-b', unused)).toMatchObject(elsewhere);
    // The bound: until its worker looks again this one is good, once.
    const last = await opens('serve-a', unused);
    expect(await answer('serve-a', unused)).toMatchObject(used);
    await expect(client.sessions.resume({ id: grant.session.id })).rejects.toMatchObject({
      code: 'conflict',
    });
    await looks('serve-a');
    expect(await last.closed).toEqual(cutOff);
  });

  it('opens nothing once its worker knows of the end of the session, and who is connected is cut off', async () => {
    const [ended, other] = [await granted('serve-a'), await granted('serve-a')];
    const [robot, bystander] = [await opens('serve-a', ended), await opens('serve-a', other)];
    const { id } = ended.session;
    const unused = await client.sessions.resume({ id });
    const first = await client.sessions.create({ ...session, reasoning: { when: 'off' } });
    await looks('serve-a');
    await acts(robot, 0);
    await client.sessions.end({ id });
    await client.sessions.end({ id: first.session.id });
    // One that has no database goes on, and learns of it later.
    const gone = connect(api.db.workerUrl, { max: 1, name: 'gone' });
    await gone.close();
    await looks('serve-a', gone);
    expect(warned).toEqual(['sessions that have ended could not be looked up']);
    await acts(robot, 1);
    await looks('serve-a');
    expect(await robot.closed).toEqual(cutOff);
    const over = { code: 'conflict', field: 'session', fix: 'Create a new session.' };
    expect(await answer('serve-a', unused)).toMatchObject(over);
    expect(await answer('serve-a', first)).toMatchObject(over);
    await acts(bystander, 0);
    bystander.close();
  });

  it('opens nothing when it has expired', async () => {
    api.clock.skewMs = -60_000;
    const grant = await granted('serve-a').finally(() => (api.clock.skewMs = 0));
    expect(await answer('serve-a', grant)).toMatchObject({ code: 'expired_token' });
  });

  it('that was used before the robot came costs it an attempt: it resumes, and the thief is cut', async () => {
    const grant = await granted('serve-a');
    const thief = await opens('serve-a', grant);
    const told: string[] = [];
    const robot = await connectRobot({
      client,
      embodiment: armSpec(),
      grant,
      reconnect: { baseMs: 10 },
      onError: ({ code, field }) => told.push(`${code} ${String(field)}`),
    });
    expect(told).toEqual(['conflict epoch']);
    expect((await thief.closed).code).toBe(1008);
    expect(robot.welcome.epoch).toBe(grant.session.epoch + 1);
    await robot.close();
  });
});

describe('the robot itself', { timeout: SLOW }, () => {
  it('renews its token where it is connected, and goes over before it leaves where it is placed elsewhere', async () => {
    const grant = await granted('serve-a');
    const refused: unknown[] = [];
    const statuses: string[] = [];
    const robot = await connectRobot({
      client,
      embodiment: armSpec(),
      grant,
      onError: (error) => refused.push(error),
      onStatus: (status, detail) => statuses.push(`${status} ${detail}`),
    });
    const epochs = new Set<number>();
    const act = async (): Promise<void> => {
      const { epoch } = await robot.act({
        images: { front: { jpeg } },
        state: Float32Array.of(0.2, 0.1),
        instruction: 'lift the cup',
      });
      epochs.add(epoch);
    };
    const until = async (over: () => boolean): Promise<void> => {
      for (const end = Date.now() + SLOW / 3; !over() && Date.now() < end;) {
        await act();
        // The worker takes so many observations a second.
        await new Promise((resolve) => setTimeout(resolve, 60));
      }
    };
    // Both are ready, and the other has fewer sessions: it stays where it is all the same.
    await place('serve-a', 'serve-b');
    await until(() => robot.stats.refreshes === 1);
    await act();
    expect(robot.welcome.worker).toBe('serve-a');
    await place('serve-b');
    await until(() => robot.stats.reconnects === 1);
    await act();
    expect(robot.welcome.worker).toBe('serve-b');
    await expect.poll(() => workers['serve-a'].gateway.sessions, { timeout: SLOW }).toBe(0);
    expect(robot.stats).toMatchObject({ refreshes: 1, reconnects: 1, errors: 0 });
    expect([...epochs]).toEqual([0, 1, 2]);
    expect(refused).toEqual([]);
    expect(statuses.filter((status) => status.startsWith('reconnecting'))).toEqual([]);
    await robot.close();
  });

  it('that is moved while nothing else takes it stays where it is, and is told', async () => {
    const grant = await granted('serve-a');
    const told: string[] = [];
    const nowhere = 'ws://127.0.0.1:1/v1/robot';
    const robot = await connectRobot({
      embodiment: armSpec(),
      grant,
      resume: async (wishes) => {
        const next = await client.sessions.resume({
          id: grant.session.id,
          ...wishes,
        });
        return { ...next, url: nowhere };
      },
      reconnect: { baseMs: 5, maxMs: 20, giveUpAfterMs: 0 },
      onError: ({ code }) => told.push(code),
    });
    await expect.poll(() => told, { timeout: SLOW / 2, interval: 100 }).toEqual(['unavailable']);
    expect(robot.status).toBe('ready');
    expect(robot.welcome.worker).toBe('serve-a');
    await robot.close();
  });
});
