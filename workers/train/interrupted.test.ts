import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { claimJob, eq, finetunes, jobs, policyVersions, withTenant } from '@armature/db';
import { DiskStore } from '@armature/storage';
import { pino } from 'pino';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Interruptions } from '../../test/support/interruptions.ts';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../../test/support/postgres.ts';
import { smallRecording, smallSpec, writeSmallDataset } from '../../test/support/small-dataset.ts';
import { queueFinetune, toyWorkshop, type QueuedFinetune } from '../../test/support/train.ts';
import { runFinetune } from './job/run.ts';
import type { JobServices } from './job/services.ts';

/**
 * A fine-tune that is interrupted at every point at which it meets the database or the object store ends as one that
 * is not, and whoever comes back to life afterwards changes nothing.
 */

const STEPS = 2;
const STORE = { publicUrl: 'http://localhost', secret: 'x'.repeat(32) };
/** Of the points at which a process is killed, one in so many; 1 for all of them. */
const KILL_EVERY = Number(process.env['ARMATURE_KILL_EVERY'] ?? 9);

let server: TestPostgres;
let database: TestDatabase;
let admin: postgres.Sql;
let folder: string;
let training: { directory: string; remove: () => Promise<void> };
let store: DiskStore;
/** The digest and the points of a run without interruption. */
let wanted: { digest: string; points: number };

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
  wanted = { digest: versions[0]?.digest ?? '', points: interruptions.points };
  expect(wanted.points).toBeGreaterThan(40);
});
afterAll(async () => {
  await admin.end();
  await server.stop();
  await training.remove();
  await rm(folder, { recursive: true });
});

function queue(): Promise<QueuedFinetune> {
  return queueFinetune({
    app: database.app,
    store,
    spec: smallSpec,
    training: training.directory,
    heldout: training.directory,
    options: { steps: STEPS, images: 'blank' },
  });
}

/** One worker's attempt at the job that waits. */
async function attempt(interruptions: Interruptions): Promise<void> {
  const services: JobServices = {
    db: interruptions.database(database.worker),
    store: interruptions.store(store),
    log: pino({ level: 'silent' }),
    nowMs: () => performance.now(),
    openWorkshop: () => Promise.resolve(toyWorkshop()),
    vision: null,
    cacheDir: join(folder, 'cache'),
    threads: 1,
    // No heartbeat comes between, so that points are the same in every run.
    beatMs: 1_000_000,
    checkpointEveryS: 0,
    code: { version: '1.2.3', build: 'test' },
  };
  const job = await claimJob(database.worker, {
    kinds: ['finetune'],
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
  const below = `tenants/${queued.tenantId}/policies/${wanted.digest}/`;
  expect(keys, point).toEqual([`${below}head.safetensors`, `${below}manifest.json`]);
}

const points = (): number[] => Array.from({ length: wanted.points }, (_, i) => i + 1);

it('ends as undisturbed wherever a call fails once', async () => {
  for (const point of points()) {
    const queued = await queue();
    const failing = new Interruptions(point, 'fail');
    await attempt(failing);
    await settle(queued);
    await expectAsUndisturbed(queued, `a failure at ${failing.where}`);
  }
}, 300_000);

it('ends as undisturbed wherever a worker freezes, and its coming back changes nothing', async () => {
  for (const point of points()) {
    const queued = await queue();
    const zombie = new Interruptions(point, 'freeze');
    const frozen = attempt(zombie);
    await Promise.race([zombie.here, frozen]);
    await settle(queued);
    zombie.thaw();
    await frozen;
    await expectAsUndisturbed(queued, `a worker frozen at ${zombie.where}`);
  }
}, 300_000);

it('ends as undisturbed wherever a process is killed', async () => {
  for (const point of points().filter((p) => p % KILL_EVERY === 0)) {
    const queued = await queue();
    const entry = fileURLToPath(new URL('../../test/support/killed-worker.ts', import.meta.url));
    const worker = spawn(process.execPath, ['--import', 'tsx', entry], {
      env: {
        PATH: process.env['PATH'],
        DATABASE_URL: database.workerUrl,
        CACHE_DIR: join(folder, 'cache'),
        STORE_ROOT: join(folder, 'store'),
        STORE_PUBLIC_URL: STORE.publicUrl,
        STORE_SECRET: STORE.secret,
        KILL_AT: String(point),
      },
      stdio: 'inherit',
    });
    const [, signal] = (await once(worker, 'exit')) as [number | null, NodeJS.Signals | null];
    expect(signal, `killed at point ${point}`).toBe('SIGKILL');
    await settle(queued);
    await expectAsUndisturbed(queued, `a process killed at point ${point} of ${wanted.points}`);
  }
}, 300_000);
