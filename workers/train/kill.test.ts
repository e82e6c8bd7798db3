import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { asc, eq, finetunes, jobEvents, jobs, policyVersions, withTenant } from '@armature/db';
import { DiskStore } from '@armature/storage';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bundled } from '../../test/support/bundle.ts';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../../test/support/postgres.ts';
import { smallRecording, smallSpec, writeSmallDataset } from '../../test/support/small-dataset.ts';
import { queueFinetune, type QueuedFinetune } from '../../test/support/train.ts';

const STEPS = 100;
const LEASE_MS = 5_000;
const STORE = { publicUrl: 'http://localhost', secret: 'x'.repeat(32) };

let server: TestPostgres;
let database: TestDatabase;
let folder: string;
let training: { directory: string; remove: () => Promise<void> };
let store: DiskStore;
const workers: ChildProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'armature-kill-'));
  [server, training] = await Promise.all([
    startTestPostgres(),
    writeSmallDataset(smallRecording(3, 20)),
  ]);
  database = await server.database();
  store = new DiskStore({ kind: 'disk', root: join(folder, 'store'), ...STORE });
});
afterAll(async () => {
  for (const worker of workers) worker.kill('SIGKILL');
  await server.stop();
  await training.remove();
  await rm(folder, { recursive: true });
});

async function startWorker(): Promise<ChildProcess> {
  const worker = spawn(process.execPath, [await bundled('test/support/train-worker.ts')], {
    env: {
      PATH: process.env['PATH'],
      WORKER_ID: `w${workers.length}`,
      DATABASE_URL: database.workerUrl,
      CACHE_DIR: join(folder, 'cache'),
      STORE_KIND: 'disk',
      STORE_ROOT: join(folder, 'store'),
      STORE_PUBLIC_URL: STORE.publicUrl,
      STORE_SECRET: STORE.secret,
      LEASE_MS: String(LEASE_MS),
      CHECKPOINT_EVERY_S: '1',
      POLL_MS: '100',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  workers.push(worker);
  await once(worker.stdout, 'data');
  return worker;
}

function queue(): Promise<QueuedFinetune> {
  return queueFinetune({
    app: database.app,
    store,
    spec: smallSpec,
    training: training.directory,
    options: { steps: STEPS, images: 'blank' },
  });
}

async function look(queued: QueuedFinetune) {
  return withTenant(database.app, queued.tenantId, async (tx) => {
    const [finetune] = await tx.select().from(finetunes).where(eq(finetunes.id, queued.finetuneId));
    const [job] = await tx.select().from(jobs).where(eq(jobs.id, queued.jobId));
    const events = await tx
      .select()
      .from(jobEvents)
      .where(eq(jobEvents.subjectId, queued.finetuneId))
      .orderBy(asc(jobEvents.seq));
    const versions = await tx.select().from(policyVersions);
    return { finetune, job, events, versions };
  });
}

async function until(
  queued: QueuedFinetune,
  done: (state: Awaited<ReturnType<typeof look>>) => boolean,
): Promise<Awaited<ReturnType<typeof look>>> {
  for (;;) {
    const state = await look(queued);
    if (done(state)) return state;
    await sleep(50);
  }
}

it('goes on after kill -9 and after SIGTERM, to the very version of an undisturbed run', async () => {
  const undisturbed = await queue();
  const first = await startWorker();
  const { versions: wanted } = await until(undisturbed, ({ versions }) => versions.length > 0);

  const queued = await queue();
  await until(queued, ({ finetune }) => (finetune?.checkpoint?.step ?? 0) >= 10);
  first.kill('SIGKILL');
  await once(first, 'exit');
  const killed = await look(queued);
  expect(killed.job?.status).toBe('running');
  const killedAt = killed.finetune?.checkpoint?.step ?? NaN;

  const second = await startWorker();
  await until(queued, ({ events }) =>
    events.some(({ message }) => message.includes('goes on from the checkpoint')),
  );
  await until(queued, ({ finetune }) => (finetune?.checkpoint?.step ?? 0) > killedAt);
  second.kill('SIGTERM');
  const [code] = (await once(second, 'exit')) as [number | null];
  expect(code).toBe(0);
  const stopped = await look(queued);
  expect(stopped.job).toMatchObject({ status: 'queued', leaseOwner: null });

  const third = await startWorker();
  const { finetune, job, events, versions } = await until(
    queued,
    (state) => state.finetune?.status === 'succeeded',
  );
  third.kill('SIGTERM');
  await once(third, 'exit');
  expect(versions.map(({ digest }) => digest)).toEqual(wanted.map(({ digest }) => digest));
  expect(job).toMatchObject({ status: 'succeeded' });
  expect(finetune?.checkpoint).toBeNull();
  const resumed = events.filter(({ message }) => message.includes('goes on from the checkpoint'));
  expect(resumed.length).toBeGreaterThanOrEqual(2);
  expect(resumed[0]?.data['step']).toBe(killedAt);
  const left: string[] = [];
  for await (const { key } of store.list(`tenants/${queued.tenantId}/finetunes/`)) left.push(key);
  expect(left).toEqual([]);
}, 300_000);
