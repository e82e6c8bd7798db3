import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SessionClaims } from '@armature/sdk/contract';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestPostgres, type TestPostgres } from '../../test/support/postgres.ts';
import { recordSession } from '../../test/support/session-rows.ts';
import { startIssuer, type Issuer } from './gateway/testing/issuer.ts';
import { Random } from '../../test/simulation/random.ts';
import { claimsFor, jpegOf, observation, TestRobot } from './testing/robots.ts';
import { MemoryStore, storePolicy } from './testing/worker.ts';

const KILLS = 4;
/** What goes wrong when follows from it; one that fails stands in the test's name. */
const SEED = Number(process.env['ARMATURE_CHAOS_SEED'] ?? Date.now() % 1_000_000);
const ROBOTS = 4;
const CHUNKS_BETWEEN_KILLS = 25;
const TENANTS = ['ten_c1', 'ten_c2'];
/** A robot asks this long after its answer, ms. */
const PERIOD_MS = 20;
const PATIENCE_MS = 120_000;
const entry = new URL('./testing/chaos-worker.ts', import.meta.url).pathname;

/** A way to the database that breaks off when told to. */
class BreakingProxy {
  private readonly sockets = new Set<Socket>();
  private readonly server: Server;

  private constructor(target: URL) {
    const { hostname, port: targetPort } = target;
    this.server = createServer((near) => {
      const far = connect(Number(targetPort), hostname);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.sockets.add(from);
        from.pipe(to);
        // A connection that is broken off on purpose ends with an error on either side.
        from.on('error', () => to.destroy());
        from.on('close', () => {
          this.sockets.delete(from);
          to.destroy();
        });
      }
    });
  }

  static async start(target: URL): Promise<BreakingProxy> {
    const proxy = new BreakingProxy(target);
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    return proxy;
  }

  get port(): number {
    const address = this.server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return address.port;
  }

  breakAll(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  stop(): void {
    this.breakAll();
    this.server.close();
  }
}

let server: TestPostgres;
let admin: postgres.Sql;
let issuer: Issuer;
let proxy: BreakingProxy;
let databaseUrl: string;
let dir: string;
let port: number;
const claims: SessionClaims[] = [];

beforeAll(async () => {
  server = await startTestPostgres();
  const database = await server.database();
  admin = postgres(database.adminUrl, { max: 1 });
  issuer = await startIssuer();
  const url = new URL(database.workerUrl);
  proxy = await BreakingProxy.start(url);
  url.port = String(proxy.port);
  databaseUrl = url.href;
  dir = mkdtempSync(path.join(tmpdir(), 'armature-chaos-'));
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  port = address === null || typeof address === 'string' ? 0 : address.port;
  probe.close();
  const store = new MemoryStore();
  for (let i = 0; i < ROBOTS; i++) {
    const tenant = TENANTS[i % TENANTS.length] ?? '';
    const policy = storePolicy(store, tenant, tenant);
    claims.push(claimsFor({ sub: `ses_c${i}`, worker: 'chaos', tenant, policy }));
    await recordSession(admin, { tenant, session: `ses_c${i}`, version: policy.version_id });
  }
});
afterAll(async () => {
  proxy.stop();
  await admin.end();
  await server.stop();
  await issuer.close();
  rmSync(dir, { recursive: true });
});

async function start(): Promise<ChildProcess> {
  const settings = { port, spool: dir, jwksUrl: issuer.jwksUrl, databaseUrl, tenants: TENANTS };
  const child = spawn(process.execPath, ['--import', 'tsx', entry, JSON.stringify(settings)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  // A driver may bring its process down when a connection breaks off: then the next one carries on.
  const ended = once(child, 'exit').then(() => 'ended' as const);
  const ready = once(child.stdout, 'data').then(() => 'ready' as const);
  return (await Promise.race([ended, ready])) === 'ready' ? child : start();
}

describe('metering', () => {
  it(
    `totals what robots were sent, while workers and the database are killed and connections break off (ARMATURE_CHAOS_SEED=${SEED})`,
    { timeout: 900_000 },
    async () => {
      const jpeg = await jpegOf();
      const random = new Random(SEED);
      const received = new Set<string>();
      /** Reasonings that drove what was received. */
      const heard = new Set<string>();
      /** Asked for when a worker died: recorded or not, the robot cannot know. */
      const unknown = new Set<string>();
      const end = new AbortController();
      const isOver = (): boolean => end.signal.aborted;
      const drive = async (own: SessionClaims): Promise<void> => {
        let seq = 0;
        for (let epoch = 1; !isOver(); epoch++) {
          const token = await issuer.sign({ ...own, epoch });
          const robot = await TestRobot.open(port, token).catch(() => undefined);
          if (robot === undefined) {
            // Nothing listens between two workers.
            await sleep(20);
            continue;
          }
          const gone = robot.closed.then(() => undefined);
          await Promise.race([gone, robot.next('welcome', PATIENCE_MS).catch(() => undefined)]);
          while (!isOver() && robot.socket.readyState === robot.socket.OPEN) {
            const id = `${own.sub}:${epoch}:${seq}`;
            robot.send(observation(seq, jpeg));
            const answer = robot.answer(seq, PATIENCE_MS).catch(() => undefined);
            await Promise.race([gone, answer]);
            const chunks = robot.frames.filter((f) => f.type === 'chunk');
            const frame = chunks.find((f) => f.seq === seq);
            if (frame === undefined) unknown.add(id);
            else {
              received.add(id);
              if (frame.reasoning !== null) heard.add(frame.reasoning.id);
            }
            seq += 1;
            await sleep(PERIOD_MS);
          }
          robot.close();
        }
      };

      let child = await start();
      const driving = Promise.all(claims.map(drive));
      for (let kill = 1; kill <= KILLS; kill++) {
        const goal = kill * CHUNKS_BETWEEN_KILLS;
        const crashAt = goal - random.whole(1, CHUNKS_BETWEEN_KILLS - 1);
        let crashed = false;
        while (received.size < goal) {
          proxy.breakAll();
          await sleep(random.between(15, 75));
          if (!crashed && received.size >= crashAt) {
            crashed = true;
            await server.crash();
          }
          if (child.exitCode !== null) child = await start();
        }
        const died = once(child, 'exit');
        if (child.exitCode === null && child.kill('SIGKILL')) await died;
        child = await start();
      }
      while (received.size < (KILLS + 1) * CHUNKS_BETWEEN_KILLS) {
        await sleep(10);
        if (child.exitCode !== null) child = await start();
      }
      end.abort();
      await driving;
      if (child.exitCode !== null) child = await start();
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      expect(await exit).toEqual([0, null]);

      const rows = await admin`select id, tenant_id, session_id, actions from usage_events`;
      const metered = new Set(rows.map((row) => String(row['id'])));
      expect(metered.size).toBe(rows.length);
      expect([...received].filter((id) => !metered.has(id))).toEqual([]);
      expect([...metered].filter((id) => !received.has(id) && !unknown.has(id))).toEqual([]);
      // Every chunk has a reasoning of its own here, under the chunk's id.
      const records = await admin`select id, session_id, tenant_id from reasoning_records`;
      const reasoned = new Set(records.map((row) => String(row['id'])));
      expect(reasoned.size).toBe(records.length);
      expect(heard.size).toBe(received.size);
      expect([...heard].filter((id) => !reasoned.has(id))).toEqual([]);
      expect([...reasoned].filter((id) => !heard.has(id) && !unknown.has(id))).toEqual([]);
      const owner = new Map(claims.map(({ sub, tenant }) => [sub, tenant]));
      for (const row of records) {
        expect(row['tenant_id']).toBe(owner.get(String(row['session_id'])));
      }
      for (const { sub, tenant } of claims) {
        const own = rows.filter((row) => row['session_id'] === sub);
        expect(new Set(own.map((row) => String(row['tenant_id'])))).toEqual(new Set([tenant]));
        expect(own.every((row) => row['actions'] === 8)).toBe(true);
      }
    },
  );
});
