import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import {
  cancelJob,
  claimJob,
  connect,
  type Db,
  eq,
  finetunes,
  jobs,
  policyVersions,
  withTenant,
} from '@armature/db';
import { DiskStore } from '@armature/storage';
import { pino } from 'pino';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Cut, CuttingProxy } from '../../test/support/cutting-proxy.ts';
import { Interruptions, mostPoints, somePoints } from '../../test/support/interruptions.ts';
import { runKilled } from '../../test/support/killed-claim.ts';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../../test/support/postgres.ts';
import { smallRecording, smallSpec, writeSmallDataset } from '../../test/support/small-dataset.ts';
import { queueFinetune, toyWorkshop, type QueuedFinetune } from '../../test/support/train.ts';
import { runFinetune } from './job/run.ts';
import type { JobServices } from './job/services.ts';
import type { Workshop } from './job/workshop.ts';

/**
 * A fine-tune that is interrupted where it meets the database or the object store ends as one that is not, and
 * whoever comes back to life afterwards changes nothing. Every point at which it may change something is tried, and
 * of those at which it reads some with each change of the code.
 */

const STEPS = 2;
const STORE = { publicUrl: 'http://localhost', secret: 'x'.repeat(32) };

let server: TestPostgres;
let database: TestDatabase;
let admin: postgres.Sql;
let folder: string;
let training: { directory: string; remove: () => Promise<void> };
let store: DiskStore;
/** The digest and the points of a run without interruption, and those at which every change of the code is tried. */
let wanted: { digest: string; points: number; most: number[] };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'armature-interrupted-'));
  [server, training] = await Promise.all([
    startTestPostgres(),
    writeSmallDataset(smallRecording(2, 8)),
  ]);
  database = await server.database();
  admin = postgres(database.adminUrl, { max: 1 });
  store = new DiskStore({ kind: 'disk', root: join(folder, 'store'), ...STORE });
  const queued = await queue();
  const interruptions = new Interruptions(0, 'fail');
  await attempt(interruptions);
  const { versions } = await look(queued);
  wanted = {
    digest: versions[0]?.digest ?? '',
    points: interruptions.points,
    most: mostPoints(interruptions),
  };
  expect(wanted.points).toBeGreaterThan(100);
  expect(interruptions.changes.length).toBeGreaterThan(30);
});
afterAll(async () => {
  await admin.end();
  await server.stop();
  await training.remove();
  await rm(folder, { recursive: true });
});

function queue(of?: QueuedFinetune): Promise<QueuedFinetune> {
  return queueFinetune({
    app: database.app,
    store,
    spec: smallSpec,
    training: training.directory,
    heldout: training.directory,
    options: { steps: STEPS, images: 'blank' },
    ...(of === undefined ? {} : { of }),
  });
}

/** One worker's attempt at the job that waits. */
async function attempt(
  interruptions: Interruptions,
  { db = database.worker, workshop = toyWorkshop() }: { db?: Db; workshop?: Workshop } = {},
): Promise<void> {
  const services: JobServices = {
    db: interruptions.database(db),
    store: interruptions.store(store),
    log: pino({ level: 'silent' }),
    nowMs: () => performance.now(),
    openWorkshop: () => Promise.resolve(workshop),
    vision: null,
    cacheDir: join(folder, 'cache'),
    threads: 1,
    // No heartbeat comes between, so that points are the same in every run.
    beatMs: 1_000_000,
    checkpointEveryS: 0,
    code: { version: '1.2.3', build: 'test' },
  };
  const job = await claimJob(database.worker, {
    kind: 'finetune',
    owner: 'test',
    leaseMs: 600_000,
  });
  if (job === null) throw new Error('there is no job to claim');
  await runFinetune(job, performance.now(), services, new AbortController().signal);
}

async function look({ tenantId, finetuneId, jobId }: QueuedFinetune) {
  const rows = await withTenant(database.app, tenantId, async (tx) => {
    const [finetune] = await tx.select().from(finetunes).where(eq(finetunes.id, finetuneId));
    const [job] = await tx.select().from(jobs).where(eq(jobs.id, jobId));
    const versions = await tx.select().from(policyVersions);
    return { finetune, job, versions };
  });
  const keys: string[] = [];
  for (const below of ['finetunes', 'policies']) {
    for await (const { key } of store.list(`tenants/${tenantId}/${below}/`)) keys.push(key);
  }
  return { ...rows, keys };
}

/** What a lost worker's lease and a wait before the next attempt come to, at once. */
async function letTheNextBegin({ jobId }: QueuedFinetune): Promise<void> {
  await admin`
    update jobs set run_at = now(),
      lease_until = case when lease_until is null then null else now() - interval '1 second' end
    where id = ${jobId}`;
}

/**
 * Lets workers take the job, one after another, until it has come to an end. One that was interrupted once the job had
 * ended has left checkpoints that only a sweep takes away.
 */
async function settle(queued: QueuedFinetune): Promise<void> {
  if ((await look(queued)).job?.status === 'succeeded') {
    await store.deletePrefix(`tenants/${queued.tenantId}/finetunes/`);
  }
  for (let i = 0; i < 3; i++) {
    const { job } = await look(queued);
    if (job?.status !== 'queued' && job?.status !== 'running') return;
    await letTheNextBegin(queued);
    await attempt(new Interruptions(0, 'fail'));
  }
}

async function expectAsUndisturbed(queued: QueuedFinetune, point: string): Promise<void> {
  const { finetune, job, versions, keys } = await look(queued);
  expect(finetune?.status, point).toBe('succeeded');
  expect(job?.status, point).toBe('succeeded');
  expect(finetune?.checkpoint, point).toBeNull();
  expect(
    versions.map(({ digest }) => digest),
    point,
  ).toEqual([wanted.digest]);
  const below = `tenants/${queued.tenantId}/policies/${wanted.digest}-${queued.finetuneId}/`;
  expect(keys, point).toEqual([`${below}head.safetensors`, `${below}manifest.json`]);
}

it('leaves the objects of an equal fine-tune alone when it is cancelled while both store theirs', async () => {
  const one = await queue();
  const other = await queue(one);
  const stored = (): Interruptions => new Interruptions(/^after put of .*manifest/, 'freeze');
  // Both have put their manifests, which is the last that the store is told of a version.
  const [first, second] = [stored(), stored()];
  const storing = [attempt(first)];
  await first.here;
  storing.push(attempt(second));
  await second.here;
  await withTenant(database.app, one.tenantId, async (tx) => {
    await cancelJob(tx, { tenantId: one.tenantId, kind: 'finetune', subjectId: other.finetuneId });
    await tx
      .update(finetunes)
      .set({ status: 'cancelling' })
      .where(eq(finetunes.id, other.finetuneId));
  });
  second.thaw();
  await storing[1];
  first.thaw();
  await storing[0];
  expect((await look(other)).finetune?.status).toBe('cancelled');
  await expectAsUndisturbed(one, 'an equal one cancelled');
});

it('ends as undisturbed wherever a call fails once', async () => {
  for (const point of wanted.most) {
    const queued = await queue();
    const failing = new Interruptions(point, 'fail');
    await attempt(failing);
    await settle(queued);
    await expectAsUndisturbed(queued, `a failure at ${failing.where}`);
  }
}, 600_000);

it('ends as undisturbed wherever a worker freezes, and its coming back changes nothing', async () => {
  for (const point of wanted.most) {
    const queued = await queue();
    const zombie = new Interruptions(point, 'freeze');
    const frozen = attempt(zombie);
    await Promise.race([zombie.here, frozen]);
    await settle(queued);
    zombie.thaw();
    await frozen;
    await expectAsUndisturbed(queued, `a worker frozen at ${zombie.where}`);
  }
}, 600_000);

it('ends as undisturbed wherever a process is killed', async () => {
  for (const point of somePoints(wanted.points)) {
    const queued = await queue();
    const signal = await runKilled('killed-worker.ts', {
      point,
      databaseUrl: database.workerUrl,
      store: { root: join(folder, 'store'), ...STORE },
      env: { CACHE_DIR: join(folder, 'cache') },
    });
    expect(signal, `killed at point ${point}`).toBe('SIGKILL');
    await settle(queued);
    await expectAsUndisturbed(queued, `a process killed at point ${point} of ${wanted.points}`);
  }
}, 600_000);

it('ends as undisturbed wherever its connection to the database is lost, within a transaction too', async () => {
  const url = new URL(database.workerUrl);
  const proxy = await CuttingProxy.to(Number(url.port));
  url.port = String(proxy.port);
  // A lost connection is opened anew once its time to open is over.
  const db = connect(url.href, { max: 1, connectTimeoutS: 1 });
  const lost = async (piece: number, how: Cut): Promise<QueuedFinetune> => {
    const queued = await queue();
    proxy.cut(piece, how);
    await attempt(new Interruptions(0, 'fail'), { db });
    return queued;
  };
  // postgres.js throws from a timer where a statement follows on a lost connection: a worker's process ends there.
  const listeners = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => {
    if (/nextWrite/.test(error.stack ?? '')) return;
    for (const listener of listeners) listener(error, 'uncaughtException');
  });
  try {
    await lost(0, 'before');
    const { pieces } = proxy;
    expect(pieces).toBeGreaterThan(wanted.points);
    for (const [i, piece] of somePoints(pieces, 6).entries()) {
      const how = i % 2 === 0 ? 'before' : 'after';
      const queued = await lost(piece, how);
      await settle(queued);
      await expectAsUndisturbed(queued, `a connection lost ${how} piece ${piece} of ${pieces}`);
    }
  } finally {
    process.removeAllListeners('uncaughtException');
    for (const listener of listeners) process.on('uncaughtException', listener);
    await db.close();
    await proxy.close();
  }
}, 600_000);

it('ends as undisturbed when the database is killed under it and started again', async () => {
  const queued = await queue();
  await attempt(new Interruptions(0, 'fail'), {
    workshop: toyWorkshop({ onStep: (step) => (step === 1 ? server.crash() : undefined) }),
  });
  await settle(queued);
  await expectAsUndisturbed(queued, 'a database killed at a step');
});
