import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { claimJob, datasets, eq, jobs, withTenant } from '@armature/db';
import { type DatasetReport, datasetReportSchema } from '@armature/sdk/contract';
import { DiskStore } from '@armature/storage';
import { pino } from 'pino';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bundled } from '../../test/support/bundle.ts';
import { Interruptions, somePoints } from '../../test/support/interruptions.ts';
import { runKilled } from '../../test/support/killed-claim.ts';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../../test/support/postgres.ts';
import { smallRecording, smallSpec, writeSmallDataset } from '../../test/support/small-dataset.ts';
import { addOwner, addUploadedSet, type UploadedSet } from '../../test/support/uploaded-set.ts';
import { runIngest } from './job.ts';

/**
 * A validation that is interrupted where it meets the database or the object store ends as one that is not, and
 * whoever comes back to life afterwards changes nothing.
 */

const STORE = { publicUrl: 'http://localhost', secret: 'x'.repeat(32) };

let server: TestPostgres;
let database: TestDatabase;
let admin: postgres.Sql;
let folder: string;
let good: Awaited<ReturnType<typeof writeSmallDataset>>;
let store: DiskStore;
let owner: Awaited<ReturnType<typeof addOwner>>;
let workers = 0;
let checker: string;
/** What a validation without interruption comes to, and its points. */
let wanted: Awaited<ReturnType<typeof look>>;
let points: number;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'armature-ingest-interrupted-'));
  [server, good] = await Promise.all([
    startTestPostgres(),
    writeSmallDataset(smallRecording(2, 8)),
  ]);
  database = await server.database();
  checker = await bundled('workers/ingest/checker.ts');
  admin = postgres(database.adminUrl, { max: 1 });
  store = new DiskStore({ kind: 'disk', root: join(folder, 'store'), ...STORE });
  owner = await addOwner(database.app, smallSpec);
  const set = await add();
  const undisturbed = new Interruptions(0, 'fail');
  await attempt(undisturbed);
  wanted = await look(set);
  points = undisturbed.points;
  expect(wanted).toMatchObject({ status: 'ready', job: 'succeeded', report: { episodes: 2 } });
  expect(wanted.derived.length).toBeGreaterThan(2);
  expect(points).toBeGreaterThan(40);
});
afterAll(async () => {
  await admin.end();
  await server.stop();
  await good.remove();
  await rm(folder, { recursive: true });
});

const add = (): Promise<UploadedSet> => addUploadedSet(database.app, store, owner, good.directory);

/** One worker's attempt at the job that waits. */
async function attempt(interruptions: Interruptions): Promise<void> {
  const scratch = join(folder, `worker-${workers++}`);
  await mkdir(scratch);
  const job = await claimJob(database.worker, {
    kind: 'ingest',
    owner: 'test',
    leaseMs: 600_000,
  });
  if (job === null) throw new Error('there is no job to claim');
  const services = {
    db: interruptions.database(database.worker),
    store: interruptions.store(store),
    scratch,
    lanes: 1,
    memoryMib: 1_024,
    checker,
    // Neither a heartbeat nor a line of progress comes between, so that points are the same in every run.
    beatMs: 1_000_000,
    nowMs: () => 0,
    log: pino({ level: 'silent' }),
  };
  await runIngest(job, 0, services, new AbortController().signal);
}

async function look({ id, prefix }: UploadedSet) {
  const [row, job] = await withTenant(database.app, owner.tenantId, async (tx) => {
    const [set] = await tx.select().from(datasets).where(eq(datasets.id, id));
    const [ofSet] = await tx.select().from(jobs).where(eq(jobs.subjectId, id));
    return [set, ofSet];
  });
  const derived: string[] = [];
  const below = prefix.replace(/files\/$/, 'derived/');
  for await (const { key } of store.list(below)) derived.push(key.slice(below.length));
  return {
    status: row?.status,
    job: job?.status,
    report:
      row === undefined || row.report === null
        ? null
        : withoutTimes(datasetReportSchema.parse(row.report)),
    derived,
  };
}

const withoutTimes = (report: DatasetReport) => ({ ...report, ingest: null });

/** Lets workers take the set, one after another, until it has come to an end. */
async function settle(set: UploadedSet): Promise<void> {
  for (let i = 0; i < 3; i++) {
    const { job } = await look(set);
    if (job !== 'queued' && job !== 'running') return;
    await admin`
      update jobs set run_at = now(),
        lease_until = case when lease_until is null then null else now() - interval '1 second' end
      where subject_id = ${set.id}`;
    await attempt(new Interruptions(0, 'fail'));
  }
}

it('ends as undisturbed where a call fails once', async () => {
  for (const point of somePoints(points)) {
    const set = await add();
    const failing = new Interruptions(point, 'fail');
    await attempt(failing);
    await settle(set);
    expect(await look(set), `a failure at ${failing.where}`).toEqual(wanted);
  }
}, 600_000);

it('ends as undisturbed where a worker freezes, and its coming back changes nothing', async () => {
  for (const point of somePoints(points)) {
    const set = await add();
    const zombie = new Interruptions(point, 'freeze');
    const frozen = attempt(zombie);
    await Promise.race([zombie.here, frozen]);
    await settle(set);
    zombie.thaw();
    await frozen;
    expect(await look(set), `a worker frozen at ${zombie.where}`).toEqual(wanted);
  }
}, 600_000);

it('ends as undisturbed where a process is killed', async () => {
  for (const point of somePoints(points)) {
    const set = await add();
    const signal = await runKilled('killed-ingest-worker.ts', {
      point,
      databaseUrl: database.workerUrl,
      store: { root: join(folder, 'store'), ...STORE },
      env: { SCRATCH: join(folder, `killed-${point}`), CHECKER: checker },
    });
    expect(signal, `killed at point ${point}`).toBe('SIGKILL');
    await settle(set);
    expect(await look(set), `a process killed at point ${point} of ${points}`).toEqual(wanted);
  }
}, 600_000);
