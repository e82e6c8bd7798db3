import { and, asc, eq, inArray, lt, lte, or, sql } from 'drizzle-orm';
import { withSystem, withTenant, type Db, type Tx } from './connection.ts';
import { newId } from './ids.ts';
import { jobs, type JobKind } from './schema.ts';

/** A job that this process holds until its lease ends; `fence` goes with every write for it. */
export interface ClaimedJob {
  id: string;
  tenantId: string;
  kind: JobKind;
  subjectId: string;
  /** 1 for the first run. */
  attempt: number;
  fence: number;
  leaseMs: number;
  cancelRequested: boolean;
}

export type JobOutcome =
  | { status: 'succeeded' }
  | { status: 'cancelled' }
  | { status: 'failed'; error: Readonly<Record<string, unknown>> }
  /** Gives the job back, to be claimed after `delayMs`: a worker that leaves. */
  | { status: 'queued'; delayMs: number };

/** Thrown when another worker holds the job, or nobody may any more: undo and stop. */
export class LeaseLostError extends Error {
  constructor(job: ClaimedJob) {
    super(`attempt ${job.attempt} of job ${job.id} has lost its lease`);
    this.name = 'LeaseLostError';
  }
}

/** Queues a job in the transaction that makes its subject; one live job a kind and subject. */
export async function enqueue(
  tx: Tx,
  job: { tenantId: string; kind: JobKind; subjectId: string },
): Promise<string> {
  const id = newId('job');
  await tx.insert(jobs).values({ id, ...job });
  return id;
}

/**
 * Takes the next job of any tenant: queued and due, or running with its lease over. Tenants with
 * fewer running jobs come first, then the older job. Attempt and fence grow with the claim.
 */
export async function claimJob(
  db: Db,
  options: { kinds: readonly JobKind[]; owner: string; leaseMs: number },
): Promise<ClaimedJob | null> {
  const { kinds, owner, leaseMs } = options;
  return withSystem(db, 'claim the next job', async (tx) => {
    const running = sql`(select count(*) from jobs other where other.tenant_id = ${jobs.tenantId} and other.status = 'running' and other.lease_until > now())`;
    const due = or(
      and(eq(jobs.status, 'queued'), lte(jobs.runAt, sql`now()`)),
      and(eq(jobs.status, 'running'), lt(jobs.leaseUntil, sql`now()`)),
    );
    const [next] = await tx
      .select({ id: jobs.id })
      .from(jobs)
      .where(and(inArray(jobs.kind, [...kinds]), due))
      .orderBy(running, asc(jobs.runAt), asc(jobs.id))
      .limit(1)
      .for('update', { of: jobs, skipLocked: true });
    if (next === undefined) return null;
    const [claimed] = await tx
      .update(jobs)
      .set({
        status: 'running',
        attempt: sql`${jobs.attempt} + 1`,
        fence: sql`${jobs.fence} + 1`,
        leaseOwner: owner,
        leaseUntil: leaseEnd(leaseMs),
      })
      .where(eq(jobs.id, next.id))
      .returning({
        id: jobs.id,
        tenantId: jobs.tenantId,
        kind: jobs.kind,
        subjectId: jobs.subjectId,
        attempt: jobs.attempt,
        fence: jobs.fence,
        cancelRequested: jobs.cancelRequested,
      });
    return claimed === undefined ? null : { ...claimed, leaseMs };
  });
}

/** Prolongs the lease. `lost`: stop at once, write nothing. `cancel`: stop, then settle. */
export async function heartbeat(db: Db, job: ClaimedJob): Promise<'ok' | 'lost' | 'cancel'> {
  return withTenant(db, job.tenantId, async (tx) => {
    const [row] = await tx
      .update(jobs)
      .set({ leaseUntil: leaseEnd(job.leaseMs) })
      .where(held(job))
      .returning({ cancelRequested: jobs.cancelRequested });
    if (row === undefined) return 'lost';
    return row.cancelRequested ? 'cancel' : 'ok';
  });
}

/**
 * Locks the job for the rest of the transaction, so that what is written beside it is written by
 * its holder. Call it first in every transaction of a worker.
 * @throws LeaseLostError
 */
export async function holdLease(tx: Tx, job: ClaimedJob): Promise<void> {
  const rows = await tx.select({ id: jobs.id }).from(jobs).where(held(job)).for('update');
  if (rows.length === 0) throw new LeaseLostError(job);
}

/**
 * Ends the attempt, in the transaction that writes what came of it.
 * @throws LeaseLostError, which undoes that transaction.
 */
export async function settle(tx: Tx, job: ClaimedJob, outcome: JobOutcome): Promise<void> {
  const ended =
    outcome.status === 'queued'
      ? { runAt: sql`now() + ${outcome.delayMs} * interval '1 millisecond'` }
      : { finishedAt: sql`now()`, error: outcome.status === 'failed' ? outcome.error : null };
  const rows = await tx
    .update(jobs)
    .set({ status: outcome.status, leaseOwner: null, leaseUntil: null, ...ended })
    .where(held(job))
    .returning({ id: jobs.id });
  if (rows.length === 0) throw new LeaseLostError(job);
}

/**
 * Cancels the live job of a subject: a queued one at once (`cancelled`), a running one when its
 * worker next beats (`requested`); `none` when no job of it is live.
 */
export async function cancelJob(
  tx: Tx,
  subject: { tenantId: string; kind: JobKind; subjectId: string },
): Promise<'cancelled' | 'requested' | 'none'> {
  const [job] = await tx
    .select({ id: jobs.id, status: jobs.status })
    .from(jobs)
    .where(
      and(
        eq(jobs.tenantId, subject.tenantId),
        eq(jobs.kind, subject.kind),
        eq(jobs.subjectId, subject.subjectId),
        inArray(jobs.status, ['queued', 'running']),
      ),
    )
    .for('update');
  if (job === undefined) return 'none';
  const isQueued = job.status === 'queued';
  await tx
    .update(jobs)
    .set(
      isQueued
        ? { status: 'cancelled', cancelRequested: true, finishedAt: sql`now()` }
        : { cancelRequested: true },
    )
    .where(and(eq(jobs.tenantId, subject.tenantId), eq(jobs.id, job.id)));
  return isQueued ? 'cancelled' : 'requested';
}

function held(job: ClaimedJob) {
  return and(
    eq(jobs.tenantId, job.tenantId),
    eq(jobs.id, job.id),
    eq(jobs.fence, job.fence),
    eq(jobs.status, 'running'),
  );
}

function leaseEnd(leaseMs: number) {
  return sql`now() + ${leaseMs} * interval '1 millisecond'`;
}
