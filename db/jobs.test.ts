import { eq } from 'drizzle-orm';
import fc from 'fast-check';
import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../test/support/postgres.ts';
import { withTenant, type Tx } from './connection.ts';
import { appendEvents } from './events.ts';
import { newId } from './ids.ts';
import {
  cancelJob,
  claimJob,
  enqueue,
  heartbeat,
  holdLease,
  LeaseLostError,
  pauseJob,
  resumeJob,
  settle,
  type ClaimedJob,
} from './jobs.ts';
import { jobEvents, jobs, tenants } from './schema.ts';

let server: TestPostgres;
let db: TestDatabase;
const [a, b] = [newId('ten'), newId('ten')];

beforeAll(async () => {
  server = await startTestPostgres();
});
afterAll(async () => server.stop());
beforeEach(async () => {
  db = await server.database();
  for (const id of [a, b]) {
    await withTenant(db.app, id, async (tx) => {
      await tx.insert(tenants).values({ id, name: id });
    });
  }
});

const queue = (tenantId: string, subjectId: string) =>
  withTenant(db.app, tenantId, (tx) => enqueue(tx, { tenantId, kind: 'finetune', subjectId }));
const claim = (owner: string, leaseMs = 60_000) =>
  claimJob(db.worker, { kind: 'finetune', owner, leaseMs });
const settled = (job: ClaimedJob) =>
  withTenant(db.worker, job.tenantId, (tx) => settle(tx, job, { status: 'succeeded' }));
const rowOf = async (id: string, tenantId = a) => {
  const [row] = await withTenant(db.app, tenantId, (tx) =>
    tx.select().from(jobs).where(eq(jobs.id, id)),
  );
  return row;
};
const lapse = async () => {
  const client = postgres(db.adminUrl, { max: 1 });
  await client`update jobs set lease_until = now() - interval '1 second' where status = 'running'`;
  await client.end();
};
const forgetJobs = async () => {
  const client = postgres(db.adminUrl, { max: 1 });
  await client`delete from jobs`;
  await client.end();
};
async function need(job: Promise<ClaimedJob | null>): Promise<ClaimedJob> {
  const claimed = await job;
  if (claimed === null) throw new Error('nothing was claimed');
  return claimed;
}

describe('claimJob', () => {
  it('gives every job to one of many claimers, and none twice', async () => {
    const subjects = Array.from({ length: 60 }, (_, i) => `ft_${i}`);
    for (const subject of subjects) await queue(subject.endsWith('3') ? b : a, subject);
    const claimed: string[] = [];
    await Promise.all(
      Array.from({ length: 8 }, async (_, worker) => {
        for (let idle = 0; idle < 3;) {
          const job = await claim(`w${worker}`);
          if (job === null) idle++;
          else claimed.push(job.subjectId);
        }
      }),
    );
    expect(claimed.sort()).toEqual(subjects.sort());
  });

  it('takes the tenant first that has less running, then the older job', async () => {
    for (const subject of ['ft_a1', 'ft_a2', 'ft_a3']) await queue(a, subject);
    await queue(b, 'ft_b1');
    const order = [await claim('w'), await claim('w'), await claim('w'), await claim('w')];
    expect(order.map((job) => job?.subjectId)).toEqual(['ft_a1', 'ft_b1', 'ft_a2', 'ft_a3']);
    expect(await claim('w')).toBeNull();
  });

  it('takes for many workers at once what a plain model of the rule takes one by one', async () => {
    const round = fc.record({ claims: fc.integer({ min: 1, max: 6 }), ended: fc.nat(6) });
    const scenario = fc.record({
      queues: fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 2, maxLength: 6 }),
      rounds: fc.array(round, { minLength: 2, maxLength: 6 }),
      tenantMax: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
    });
    const property = fc.asyncProperty(scenario, async ({ queues, rounds, tenantMax }) => {
      /** What waits, in the order in which it came. */
      const waiting: { tenant: string; subject: string }[] = [];
      const tenantIds = queues.map(() => newId('ten'));
      for (const id of tenantIds) {
        await withTenant(db.app, id, async (tx) => {
          await tx.insert(tenants).values({ id, name: id });
        });
      }
      // Whoever has much came first with all of it.
      for (const [index, tenant] of tenantIds.entries()) {
        for (let n = 0; n < (queues[index] ?? 0); n += 1) {
          const subject = `ft_${index}_${n}`;
          await queue(tenant, subject);
          waiting.push({ tenant, subject });
        }
      }
      const running: ClaimedJob[] = [];
      const count = (tenant: string, taken: readonly { tenant: string }[]) =>
        running.filter(({ tenantId }) => tenantId === tenant).length +
        taken.filter((one) => one.tenant === tenant).length;
      for (const { claims, ended } of rounds) {
        const expected: typeof waiting = [];
        for (let n = 0; n < claims; n += 1) {
          const next = waiting
            .filter(({ tenant }) => count(tenant, expected) < (tenantMax ?? Infinity))
            .sort((x, y) => count(x.tenant, expected) - count(y.tenant, expected))[0];
          if (next === undefined) break;
          waiting.splice(waiting.indexOf(next), 1);
          expected.push(next);
        }
        const options = { kind: 'finetune' as const, leaseMs: 600_000, tenantMax };
        const claimed = await Promise.all(
          Array.from({ length: claims }, (_, n) =>
            claimJob(db.worker, { ...options, owner: `w${n}` }),
          ),
        );
        const got = claimed.filter((job) => job !== null);
        expect(got.map(({ subjectId }) => subjectId).sort()).toEqual(
          expected.map(({ subject }) => subject).sort(),
        );
        running.push(...got);
        for (const job of running.splice(0, ended)) await settled(job);
      }
      await forgetJobs();
    });
    await fc.assert(property, { numRuns: 8, seed: 11 });
  });

  it('is not held up for long by a process that stops in the middle of one', async () => {
    await queue(a, 'ft_1');
    const stopped = postgres(db.adminUrl, { max: 1 });
    let ended: unknown;
    const frozen = new Promise<void>((resolve) => {
      const claiming = stopped.begin(async (tx) => {
        await tx`select set_config('idle_in_transaction_session_timeout', '200', true), pg_advisory_xact_lock(hashtextextended('claim a job', 0))`;
        resolve();
        await new Promise((thaw) => setTimeout(thaw, 3_000));
        await tx`select 1`;
      });
      claiming.catch((error: unknown) => {
        ended = error;
      });
    });
    await frozen;
    expect((await need(claim('w'))).subjectId).toBe('ft_1');
    await expect.poll(() => ended, { timeout: 60_000 }).toBeInstanceOf(Error);
    await stopped.end();
  });

  it('takes only its kinds, and only what is due', async () => {
    const id = await queue(a, 'ft_1');
    expect(await claimJob(db.worker, { kind: 'ingest', owner: 'w', leaseMs: 1000 })).toBeNull();
    const job = await need(claim('w'));
    await withTenant(db.worker, a, (tx) => settle(tx, job, { status: 'queued', delayMs: 60_000 }));
    expect(await rowOf(id)).toMatchObject({ status: 'queued', attempt: 1, leaseOwner: null });
    expect(await claim('w')).toBeNull();
  });

  it('refuses a second live job of one subject', async () => {
    await queue(a, 'ft_1');
    await expect(queue(a, 'ft_1')).rejects.toMatchObject({ code: '23505' });
    await settled(await need(claim('w')));
    await queue(a, 'ft_1');
  });
});

describe('the fence', () => {
  it('lets a zombie neither beat, write nor settle once a successor runs', async () => {
    const id = await queue(a, 'ft_1');
    const zombie = await need(claim('old'));
    expect(await heartbeat(db.worker, zombie)).toBe('ok');
    expect(await claim('new')).toBeNull();
    await lapse();
    const successor = await need(claim('new'));
    expect(successor).toMatchObject({ id, attempt: 2, fence: zombie.fence + 1 });

    expect(await heartbeat(db.worker, zombie)).toBe('lost');
    await expect(settled(zombie)).rejects.toBeInstanceOf(LeaseLostError);
    const write = withTenant(db.worker, a, async (tx) => {
      await appendEvents(tx, 'ft_1', [{ kind: 'message', message: 'from the grave' }]);
      await holdLease(tx, zombie);
    });
    await expect(write).rejects.toBeInstanceOf(LeaseLostError);
    expect(await withTenant(db.app, a, (tx) => tx.select().from(jobEvents))).toEqual([]);

    expect(await heartbeat(db.worker, successor)).toBe('ok');
    await settled(successor);
    expect(await rowOf(id)).toMatchObject({ status: 'succeeded', attempt: 2 });
    await expect(settled(successor)).rejects.toBeInstanceOf(LeaseLostError);
  });

  it('undoes everything that a settle without the lease came with', async () => {
    await queue(a, 'ft_1');
    const job = await need(claim('w'));
    await lapse();
    await need(claim('x'));
    const finish = withTenant(db.worker, a, async (tx) => {
      await appendEvents(tx, 'ft_1', [{ kind: 'status', message: 'done' }]);
      await settle(tx, job, { status: 'failed', error: { code: 'internal' } });
    });
    await expect(finish).rejects.toBeInstanceOf(LeaseLostError);
    expect(await withTenant(db.app, a, (tx) => tx.select().from(jobEvents))).toEqual([]);
  });
});

describe('cancelJob', () => {
  const cancel = (subjectId: string) =>
    withTenant(db.app, a, (tx) => cancelJob(tx, { tenantId: a, kind: 'finetune', subjectId }));

  it('ends a queued job at once and tells a running one with its heartbeat', async () => {
    const queued = await queue(a, 'ft_1');
    expect(await cancel('ft_1')).toBe('cancelled');
    expect(await rowOf(queued)).toMatchObject({ status: 'cancelled' });
    expect(await claim('w')).toBeNull();
    expect(await cancel('ft_1')).toBe('none');

    await queue(a, 'ft_2');
    const job = await need(claim('w'));
    expect(await cancel('ft_2')).toBe('requested');
    expect(await heartbeat(db.worker, job)).toBe('cancel');
    await withTenant(db.worker, a, (tx) => settle(tx, job, { status: 'cancelled' }));
    expect(await rowOf(job.id)).toMatchObject({ status: 'cancelled' });
  });
});

describe('pauseJob', () => {
  const subject = { tenantId: a, kind: 'finetune' as const, subjectId: 'ft_1' };
  const act = <T>(work: (tx: Tx) => Promise<T>) => withTenant(db.app, a, work);

  it('sets a queued job aside at once and a running one with its heartbeat', async () => {
    const id = await queue(a, 'ft_1');
    expect(await act((tx) => pauseJob(tx, subject))).toBe('paused');
    expect(await claim('w')).toBeNull();
    await expect(queue(a, 'ft_1')).rejects.toMatchObject({ code: '23505' });
    expect(await act((tx) => resumeJob(tx, subject))).toBe(true);
    expect(await act((tx) => resumeJob(tx, subject))).toBe(false);

    const job = await need(claim('w'));
    expect(await act((tx) => pauseJob(tx, subject))).toBe('requested');
    expect(await heartbeat(db.worker, job)).toBe('pause');
    await withTenant(db.worker, a, (tx) => settle(tx, job, { status: 'paused' }));
    expect(await rowOf(id)).toMatchObject({ status: 'paused', leaseOwner: null });
    expect(await heartbeat(db.worker, job)).toBe('lost');
    expect(await act((tx) => resumeJob(tx, subject))).toBe(true);
    const again = await need(claim('w'));
    expect(again).toMatchObject({ id, attempt: 2, fence: job.fence + 1 });
    expect(await heartbeat(db.worker, again)).toBe('ok');
  });

  it('leaves a job alone that has ended or is to be cancelled, and lets a paused one be cancelled', async () => {
    expect(await act((tx) => pauseJob(tx, subject))).toBe('none');
    await queue(a, 'ft_1');
    await act((tx) => pauseJob(tx, subject));
    expect(await act((tx) => cancelJob(tx, subject))).toBe('cancelled');
    await queue(a, 'ft_1');
    const job = await need(claim('w'));
    await act((tx) => cancelJob(tx, subject));
    expect(await act((tx) => pauseJob(tx, subject))).toBe('none');
    expect(await heartbeat(db.worker, job)).toBe('cancel');
  });
});

describe('appendEvents', () => {
  it('numbers the lines of concurrent writers without gap or double', async () => {
    await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        withTenant(db.worker, a, (tx) =>
          appendEvents(tx, 'ft_1', [
            { kind: 'metrics', message: `${i}`, data: { loss: i / 3 } },
            { kind: 'message', message: `${i}b` },
          ]),
        ),
      ),
    );
    const rows = await withTenant(db.app, a, (tx) =>
      tx.select().from(jobEvents).orderBy(jobEvents.seq),
    );
    expect(rows.map((row) => row.seq)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
  });
});
