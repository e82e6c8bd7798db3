import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { reportServeWorker } from '@armature/db';
import { Armature, connectRobot, type RobotSession } from '@armature/sdk';
import { ArmatureError, type SessionClaims } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sessionTokens, type JWK } from '../api/auth/session-tokens.ts';
import { tokenVerifier, type TokenVerifier } from '../workers/serve/gateway/index.ts';
import { armSpec, jpegOf } from '../workers/serve/testing/robots.ts';
import { startWorker, type TestWorker } from '../workers/serve/testing/worker.ts';
import { PLATFORM_KEY } from './support/api.ts';
import { apiEnvironment, freePort, startApiProcess } from './support/api-process.ts';
import type { NodeProcess } from './support/node-process.ts';
import { startTestPostgres, type TestDatabase, type TestPostgres } from './support/postgres.ts';
import { startRoundRobin, type RoundRobin } from './support/round-robin.ts';
import { addPolicyVersion } from './support/rows.ts';

/** What takes minutes in production, shortened by the processes' own settings; s. */
const TOKEN_LIFE_S = 10;
const CLOCK_TOLERANCE_S = 5;
const KEY_AGES = { cacheS: 1.5, cooldownS: 0.3 };
/** Between two observations of a robot; one that stays shows its token but when it is renewed. */
const PACE_S = { staying: 0.3, coming: 0.1 };
/** Between two processes of a roll-out. */
const ROLLING_S = 1;
const STAYING = 10;
const COMING = 10;
const SLOW = 420_000;
const POLL = { timeout: 90_000, interval: 250 };

const spec = armSpec();
type Robot = RobotSession<typeof spec>;

let server: TestPostgres;
let database: TestDatabase;
let scratch: string;
let balancer: RoundRobin;
let ports: number[];
/** Of processes that are started beside those that answer. */
let otherPorts: number[];
let environment: Record<string, string>;
let processes: NodeProcess[];
let workers: TestWorker[];
let client: Armature;
let session: { robot: string; embodiment_id: string; policy_version_id: string };
let jpeg: Uint8Array;
let beating: NodeJS.Timeout;

beforeAll(async () => {
  server = await startTestPostgres();
  database = await server.database();
  scratch = await mkdtemp(path.join(tmpdir(), 'armature-rotation-'));
  jpeg = await jpegOf();
  ports = [await freePort(), await freePort()];
  otherPorts = [await freePort(), await freePort()];
  balancer = await startRoundRobin([...ports, ...otherPorts]);
  for (const port of otherPorts) balancer.leave(port);
  environment = {
    ...apiEnvironment({
      databaseUrl: database.appUrl,
      storeRoot: scratch,
      publicUrl: balancer.url,
    }),
    SESSION_TOKEN_LIFE_S: String(TOKEN_LIFE_S),
  };
  processes = await Promise.all(ports.map((port) => startApiProcess(signing(first), port)));
  const jwksUrl = `${balancer.url}/.well-known/jwks.json`;
  workers = [
    await startWorker({ worker: 'serve-0', jwksUrl, keyAges: KEY_AGES }),
    await startWorker({ worker: 'serve-1', jwksUrl, keyAges: KEY_AGES }),
  ];
  await beat();
  beating = setInterval(() => {
    beat().catch((error: unknown) => failures.push(error));
  }, 1_000);
  const operator = new Armature({ apiUrl: balancer.url, apiKey: PLATFORM_KEY });
  const { tenant, secret } = await operator.tenants.create({ name: 'fleet' });
  client = new Armature({ apiUrl: balancer.url, apiKey: secret });
  const embodiment = await client.embodiments.create({ spec });
  const [policy] = workers.map((worker) => worker.claims({ tenant: tenant.id }).policy);
  if (policy === undefined) throw new Error('there is no worker');
  const { digest, prefix } = policy;
  const version = await addPolicyVersion(database.worker, tenant.id, embodiment.id, {
    digest,
    prefix,
  });
  session = { robot: 'r', embodiment_id: embodiment.id, policy_version_id: version };
}, SLOW);
afterAll(async () => {
  clearInterval(beating);
  await Promise.all(workers.map((worker) => worker.stop()));
  await Promise.all(processes.map((one) => one.stop()));
  await balancer.close();
  await server.stop();
  await rm(scratch, { recursive: true, force: true });
}, SLOW);

/** Each worker reports itself, with its robots, so that robots come to both. */
async function beat(): Promise<void> {
  for (const [index, { port, gateway }] of workers.entries()) {
    await reportServeWorker(database.worker, {
      id: `serve-${index}`,
      url: `ws://127.0.0.1:${port}/v1/robot`,
      state: 'ready',
      sessions: gateway.sessions,
    });
  }
}

function key(kid: string): JWK {
  const { privateKey } = generateKeyPairSync('ed25519');
  return { ...privateKey.export({ format: 'jwk' }), kid };
}
const publicOf = ({ d: _, ...rest }: JWK): JWK => rest;
const [first, second, third] = [key('first'), key('second'), key('third')];

/** The processes' environment with this key to sign with and these beside it. */
function signing(by: JWK, beside: readonly JWK[] = []): Record<string, string> {
  return {
    ...environment,
    SESSION_SIGNING_JWK: JSON.stringify(by),
    SESSION_ALSO_PUBLISHED_JWKS: JSON.stringify(beside.map(publicOf)),
  };
}

/** One process after the other, so that one always answers; for a while the two differ, as in a roll-out. */
async function restart(env: Record<string, string>): Promise<void> {
  for (const [index, port] of ports.entries()) {
    if (index > 0) await seconds(ROLLING_S);
    expect(await processes[index]?.stop()).toBe(0);
    processes[index] = await startApiProcess(env, port);
  }
}
const seconds = (count: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, count * 1000));

/** What robots were told, and how they fared. */
const refusals: string[] = [];
const failures: unknown[] = [];
let chunks = 0;
let connected = 0;
const note = (error: ArmatureError): void => {
  if (error.code === 'invalid_token' || error.code === 'expired_token')
    refusals.push(String(error));
};
const open = (robot: string): Promise<Robot> =>
  connectRobot({ client, embodiment: spec, session: { ...session, robot }, onError: note });
async function act(robot: Robot, paceS = PACE_S.coming): Promise<void> {
  await robot.act({
    images: { front: { jpeg } },
    state: Float32Array.of(0.2, 0.1),
    instruction: 'lift the cup',
  });
  chunks += 1;
  await seconds(paceS);
}

const verifier = (): TokenVerifier =>
  tokenVerifier(`${balancer.url}/.well-known/jwks.json`, KEY_AGES);
const codeOf = (token: string, verify: TokenVerifier): Promise<string> =>
  verify(token).then(
    () => 'accepted',
    (error: unknown) => (error instanceof ArmatureError ? error.code : String(error)),
  );

/**
 * Takes tokens for as long as it is wanted, and looks at each as a worker does, when it is new and once more
 * shortly before it ends: a robot may connect with it at any time between.
 */
async function holdTokens(isWanted: () => boolean): Promise<void> {
  const verify = verifier();
  const look = async (token: string, age: string): Promise<void> => {
    const code = await codeOf(token, verify);
    if (code !== 'accepted') refusals.push(`a token that is ${age}: ${code}`);
  };
  const later: Promise<void>[] = [];
  while (isWanted()) {
    const { session: held, token } = await client.sessions.create({ ...session, robot: 'holds' });
    await look(token, 'new');
    later.push(seconds(TOKEN_LIFE_S - 2).then(() => look(token, 'about to end')));
    await client.sessions.end({ id: held.id });
    await seconds(0.1);
  }
  await Promise.all(later);
}

describe('the key that signs session tokens, with robots at two workers and an API of two processes', () => {
  let staying: Robot[];
  let ending = false;
  let lanes: Promise<unknown>;
  /** Whether a robot may be told that its token is over, as one that renews it within a cooldown is. */
  let mayBeRefused = false;
  const acted = new Map<Robot, number>();
  /** What signs now. */
  let signer = first;

  beforeAll(async () => {
    staying = [];
    for (let n = 0; n < STAYING; n += 1) {
      staying.push(await open(`stays-${n}`));
      // So that the next one comes to the other worker.
      await beat();
    }
    for (const worker of workers) expect(worker.gateway.sessions).toBe(STAYING / 2);
    lanes = Promise.all(
      staying.map(async (robot) => {
        while (!ending) {
          try {
            await act(robot, PACE_S.staying);
            acted.set(robot, (acted.get(robot) ?? 0) + 1);
          } catch (error) {
            const passes = error instanceof ArmatureError && error.retryable;
            if (!mayBeRefused || !passes) throw error;
          }
        }
      }),
    ).catch((error: unknown) => failures.push(error));
  }, SLOW);

  it('is changed as the README says without a robot being refused', { timeout: SLOW }, async () => {
    const refreshed = (): number => staying.reduce((sum, robot) => sum + robot.stats.refreshes, 0);
    let coming = true;
    const comers = Promise.all(
      Array.from({ length: COMING }, async (_, n) => {
        while (coming) {
          const robot = await open(`comes-${n}`);
          connected += 1;
          for (let i = 0; i < 5; i += 1) await act(robot);
          await robot.close();
        }
      }),
    ).catch((error: unknown) => failures.push(error));
    const holder = holdTokens(() => coming).catch((error: unknown) => failures.push(error));
    await restart(signing(first, [second]));
    await seconds(KEY_AGES.cacheS);
    await restart(signing(second, [first]));
    signer = second;
    await seconds(TOKEN_LIFE_S + CLOCK_TOLERANCE_S);
    await restart(signing(second));
    await seconds(KEY_AGES.cacheS);
    const before = { chunks, connected, refreshed: refreshed() };
    await expect
      .poll(() => refreshed() - before.refreshed, { timeout: SLOW })
      .toBeGreaterThan(STAYING);
    await expect
      .poll(() => connected - before.connected, { timeout: SLOW })
      .toBeGreaterThan(COMING);
    expect(chunks).toBeGreaterThan(before.chunks);
    expect(failures).toEqual([]);
    expect(refusals).toEqual([]);
    for (const worker of workers) expect(worker.gateway.sessions).toBeGreaterThan(0);
    coming = false;
    await Promise.all([comers, holder]);
    expect(failures).toEqual([]);
    expect(refusals).toEqual([]);

    // Whoever still signs with the first key gets in nowhere.
    const claims: SessionClaims = workers[0]?.claims() ?? expect.fail('there is no worker');
    const { token } = await (await sessionTokens(first)).issue(claims, new Date());
    expect(await codeOf(token, verifier())).toBe('invalid_token');
  });

  it(
    'when dropped at once, is worth nothing from when sets are fetched again, and robots go on',
    { timeout: SLOW },
    async () => {
      mayBeRefused = true;
      const stolen = await sessionTokens(signer);
      const claims: SessionClaims = workers[0]?.claims() ?? expect.fail('there is no worker');
      const verify = verifier();
      const tried = async (): Promise<string> =>
        codeOf((await stolen.issue(claims, new Date())).token, verify);
      expect(await tried()).toBe('accepted');
      const others = otherPorts.map((port) => startApiProcess(signing(third), port));
      const [before, after] = [processes, await Promise.all(others)];
      // All at once, since a process of before goes on publishing what is not to be believed.
      for (const port of ports) balancer.leave(port);
      for (const port of otherPorts) balancer.back(port);
      processes = after;
      for (const one of before) expect(await one.stop()).toBe(0);
      await expect.poll(tried, POLL).toBe('invalid_token');

      // A robot that comes within the cooldown is told `invalid_token`, and gets in after it.
      const late = async (): Promise<string> => {
        try {
          const robot = await open('late');
          await act(robot);
          await robot.close();
          return 'acted';
        } catch (error) {
          return error instanceof ArmatureError ? error.code : String(error);
        }
      };
      await expect.poll(late, POLL).toBe('acted');
      // Those that stayed hold tokens of the key that is no more, and get new ones before these end.
      await seconds(TOKEN_LIFE_S + CLOCK_TOLERANCE_S);
      const then = new Map(acted);
      const since = (robot: Robot): number => (acted.get(robot) ?? 0) - (then.get(robot) ?? 0);
      await expect.poll(() => staying.every((robot) => since(robot) > 3), POLL).toBe(true);
      ending = true;
      await lanes;
      expect(failures).toEqual([]);
      await Promise.all(staying.map((robot) => robot.close()));
    },
  );
});
