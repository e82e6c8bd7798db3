import fc from 'fast-check';
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../test/support/postgres.ts';
import { withTenant } from './connection.ts';
import { newId } from './ids.ts';
import {
  cancelJob,
  claimJob,
  enqueue,
  pauseJob,
  resumeJob,
  settle,
  type ClaimedJob,
} from './jobs.ts';
import { Queue } from './queue.ts';
import { tenants } from './schema.ts';

let server: TestPostgres;
let db: TestDatabase;
let admin: Sql;
const tenant = newId('ten');
const kind = 'finetune';

beforeAll(async () => {
  server = await startTestPostgres();
});
afterAll(async () => server.stop());
beforeEach(async () => {
  db = await server.database();
  admin = postgres(db.adminUrl, { max: 1 });
  await withTenant(db.app, tenant, async (tx) => {
    await tx.insert(tenants).values({ id: tenant, name: 't' });
  });
});
afterEach(async () => admin.end());

const subject = (subjectId: string) => ({ tenantId: tenant, kind, subjectId }) as const;
const send = (subjectId: string) =>
  withTenant(db.app, tenant, (tx) => enqueue(tx, subject(subjectId)));
const claim = (tenantMax?: number) =>
  claimJob(db.worker, { kind, owner: 'w', leaseMs: 600_000, tenantMax });
const giveBack = (job: ClaimedJob, delayMs: number) =>
  withTenant(db.worker, tenant, (tx) => settle(tx, job, { status: 'queued', delayMs }));
async function claimed(): Promise<ClaimedJob> {
  const job = await claim();
  if (job === null) throw new Error('nothing was claimed');
  return job;
}

/** Pieces of work in the queue and jobs that wait, and how many of each are due. */
async function counts() {
  const [row] = await admin<
    { pieces: number; due_pieces: number; jobs: number; due_jobs: number }[]
  >`
    select
      (select count(*) from pgboss.job where name = ${kind} and state < 'active')::int as pieces,
      (select count(*) from pgboss.job where name = ${kind} and state < 'active'
        and start_after < now())::int as due_pieces,
      (select count(*) from jobs where status = 'queued')::int as jobs,
      (select count(*) from jobs where status = 'queued' and run_at < now())::int as due_jobs`;
  if (row === undefined) throw new Error('no counts');
  return row;
}

describe('jobs in the queue', () => {
  it('is asked for without waiting for other claims while nothing is due', async () => {
    await send('ft_1');
    await giveBack(await claimed(), 3_600_000);
    await admin`select pg_advisory_lock(hashtextextended('claim a job', 0))`;
    expect(await claim()).toBeNull();
  });

  it('is not claimed without its piece of work', async () => {
    await send('ft_1');
    await admin`delete from pgboss.job`;
    expect(await claim()).toBeNull();
  });

  it('have their pieces ended by claims, and by nothing else', async () => {
    for (const id of ['ft_1', 'ft_2', 'ft_3']) await send(id);
    await claimed();
    // The tenant has its share: the pieces of the others stay.
    expect(await claim(1)).toBeNull();
    expect(await claim(1)).toBeNull();
    expect(await counts()).toMatchObject({ pieces: 2, jobs: 2 });
    await claimed();
    await claimed();
    expect(await counts()).toMatchObject({ pieces: 0, jobs: 0 });
    const ends = await admin`select state from pgboss.job where name = ${kind}`;
    expect(ends.map(({ state }) => String(state))).toEqual(Array(3).fill('completed'));
  });

  it('go to another worker by their lease alone, ahead of what has not run yet', async () => {
    await send('ft_1');
    const lost = await claimed();
    await send('ft_2');
    await admin`update jobs set lease_until = now() - interval '1 second' where id = ${lost.id}`;
    expect(await claimed()).toMatchObject({ id: lost.id, attempt: 2 });
    expect(await claimed()).toMatchObject({ subjectId: 'ft_2' });
  });

  it('that wait longer than any message is kept have their pieces still', async () => {
    await send('ft_1');
    await admin`update jobs set run_at = run_at - interval '400 days'`;
    await admin`update pgboss.job set created_on = created_on - interval '400 days',
      keep_until = keep_until - interval '400 days'`;
    const queue = await Queue.open(db.worker, {
      onError: (error) => {
        throw error;
      },
    });
    await queue.supervise();
    await queue.close();
    expect(await claimed()).toMatchObject({ subjectId: 'ft_1' });
  });

  it('that are given back for later are due when their pieces are', async () => {
    await send('ft_1');
    await giveBack(await claimed(), 3_600_000);
    expect(await counts()).toEqual({ pieces: 1, due_pieces: 0, jobs: 1, due_jobs: 0 });
    const apart = await admin`
      select extract(epoch from piece.start_after - jobs.run_at)::float8 as s
      from pgboss.job piece join jobs on jobs.id = piece.data ->> 'job_id' where state = 'created'`;
    expect(apart.map((row) => Number(row['s']))).toEqual([0]);
  });

  it('are all claimed, whatever was done to them before', async () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.constant('send' as const) },
      { weight: 3, arbitrary: fc.constant('claim' as const) },
      fc.constantFrom('cancel', 'pause', 'resume', 'end', 'give back', 'lapse' as const),
    );
    const steps = fc.array(fc.record({ step, which: fc.nat(5) }), { minLength: 5, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        const held = new Map<string, ClaimedJob>();
        const acts = {
          send: async (id: string) => {
            const [live] = await admin`select from jobs where subject_id = ${id}
              and status in ('queued', 'running', 'paused')`;
            if (live === undefined) await send(id);
          },
          claim: async () => {
            const job = await claim();
            if (job !== null) held.set(job.subjectId, job);
          },
          cancel: (id: string) => withTenant(db.app, tenant, (tx) => cancelJob(tx, subject(id))),
          pause: (id: string) => withTenant(db.app, tenant, (tx) => pauseJob(tx, subject(id))),
          resume: (id: string) => withTenant(db.app, tenant, (tx) => resumeJob(tx, subject(id))),
          end: async (id: string) => {
            const job = held.get(id);
            held.delete(id);
            if (job !== undefined) {
              await withTenant(db.worker, tenant, (tx) => settle(tx, job, { status: 'succeeded' }));
            }
          },
          'give back': async (id: string) => {
            const job = held.get(id);
            held.delete(id);
            if (job !== undefined) await giveBack(job, 0);
          },
          lapse: async () => {
            held.clear();
            await admin`update jobs set lease_until = now() - interval '1 second'
              where status = 'running'`;
          },
        };
        for (const { step, which } of all) {
          await acts[step](`ft_${which}`);
          const now = await counts();
          expect(now.due_pieces).toBeGreaterThanOrEqual(now.due_jobs);
        }
        const [waiting] = await admin<{ ids: string[] | null }[]>`
          select array_agg(id order by id) as ids from jobs
          where status = 'queued' or (status = 'running' and lease_until < now())`;
        const taken: string[] = [];
        for (let job = await claim(); job !== null; job = await claim()) taken.push(job.id);
        expect(taken.sort()).toEqual(waiting?.ids ?? []);
        // What is left of jobs that were cancelled or paused goes, a piece a claim.
        for (let left = (await counts()).pieces; left > 0; left -= 1) await claim();
        expect(await counts()).toMatchObject({ pieces: 0, jobs: 0 });
        await admin`delete from jobs`;
      }),
      { numRuns: 25, seed: 5 },
    );
  });
});
