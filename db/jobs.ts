import {
  and,
  asc,
  count,
  eq,
  gt,
  inArray,
  lt,
  lte,
  sql,
  type SQL,
  TransactionRollbackError,
} from 'drizzle-orm';
import { withSystem, withTenant, type Db, type Tx } from './connection.ts';
import { newId } from './ids.ts';
import { endWork, takeWork } from './queued-work.ts';
import { jobs, type JobKind } from './schema.ts';
import { workDue } from './work-due.ts';

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
  /** Waits until `resumeJob`. */
  | { status: 'paused' }
  | { status: 'failed'; error: Readonly<Record<string, unknown>> }
  /** Gives the job back, to be claimed after `delayMs`: a worker that leaves. */
  | { status: 'queued'; delayMs: number };

/** Whose job, and what it is about. */
export interface JobSubject {
  tenantId: string;
  kind: JobKind;
  subjectId: string;
}

/** Thrown when another worker holds the job, or nobody may any more: undo and stop. */
export class LeaseLostError extends Error {
  constructor(job: ClaimedJob) {
    super(`attempt ${job.attempt} of job ${job.id} has lost its lease`);
    this.name = 'LeaseLostError';
  }
}

/** Queues a job in the transaction that makes its subject; one live job a kind and subject. */
export async function enqueue(tx: Tx, job: JobSubject): Promise<string> {
  const id = newId('job');
  await tx.insert(jobs).values({ id, ...job });
  return id;
}

export interface ClaimOptions {
  kind: JobKind;
  owner: string;
  leaseMs: number;
  /** Most jobs of a kind that a tenant may have running; whatever there is when absent. */
  tenantMax?: number | undefined;
}

/** A process that stops within a claim keeps the others waiting this long; the database then ends its session. */
const CLAIM_IDLE_MS = 5_000;

/**
 * Takes the next job of any tenant: one that ran and whose lease is over, else one that the queue has a due
 * piece of work for. Tenants with fewer running jobs come first, then the older job; one that has
 * `tenantMax` of them waits. Attempt and fence grow with the claim. Claims go one after another, since two
 * at once would each not count what the other takes.
 */
export async function claimJob(db: Db, options: ClaimOptions): Promise<ClaimedJob | null> {
  const { owner, leaseMs } = options;
  if (!(await workDue(db, options.kind))) return null;
  return withSystem(db, 'claim the next job', async (tx) => {
    await tx.execute(
      sql`select set_config('idle_in_transaction_session_timeout', ${String(CLAIM_IDLE_MS)}, true), pg_advisory_xact_lock(hashtextextended('claim a job', 0))`,
    );
    const next = (await fairest(tx, LAPSED, options)) ?? (await carried(tx, options));
    if (next === null) return null;
    const [claimed] = await tx
      .update(jobs)
      .set({
        status: 'running',
        attempt: sql`${jobs.attempt} + 1`,
        fence: sql`${jobs.fence} + 1`,
        leaseOwner: owner,
        leaseUntil: leaseEnd(leaseMs),
        claimedAt: sql`now()`,
      })
      .where(eq(jobs.id, next))
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

const LAPSED = and(eq(jobs.status, 'running'), lt(jobs.leaseUntil, sql`now()`));
const WAITING = and(eq(jobs.status, 'queued'), lte(jobs.runAt, sql`now()`));

/** The job to take of those that are `due`, locked; null when there is none, or its tenant has enough. */
async function fairest(
  tx: Tx,
  due: SQL | undefined,
  { kind, tenantMax }: ClaimOptions,
): Promise<string | null> {
  const running = tx
    .select({
      tenantId: jobs.tenantId,
      all: count().as('all_running'),
      ofKind: sql<number>`count(*) filter (where ${jobs.kind} = ${kind})`.as('of_kind'),
    })
    .from(jobs)
    .where(and(eq(jobs.status, 'running'), gt(jobs.leaseUntil, sql`now()`)))
    .groupBy(jobs.tenantId)
    .as('running');
  const under =
    tenantMax === undefined ? undefined : sql`coalesce(${running.ofKind}, 0) < ${tenantMax}`;
  const [next] = await tx
    .select({ id: jobs.id })
    .from(jobs)
    .leftJoin(running, eq(running.tenantId, jobs.tenantId))
    .where(and(eq(jobs.kind, kind), due, under))
    .orderBy(sql`coalesce(${running.all}, 0)`, asc(jobs.runAt), asc(jobs.id))
    .limit(1)
    .for('update', { of: jobs, skipLocked: true });
  return next?.id ?? null;
}

/**
 * The waiting job that the next due piece of work leads to: the fairest, not the one that it was sent for,
 * which has the other's piece left. The piece is ended, also where no job waits any more; it stays where
 * every waiting job's tenant has enough.
 */
async function carried(tx: Tx, options: ClaimOptions): Promise<string | null> {
  const { kind } = options;
  return orUndone(tx, async (step) => {
    const work = await takeWork(step, kind);
    if (work === null) return null;
    await endWork(step, work);
    const next = await fairest(step, WAITING, options);
    if (next !== null) return next;
    const waiting = and(eq(jobs.kind, kind), WAITING);
    const [kept] = await step.select({ id: jobs.id }).from(jobs).where(waiting).limit(1);
    if (kept !== undefined) step.rollback();
    return null;
  });
}

/** What `work` gives, or null when it rolled back what it did. */
async function orUndone<T>(tx: Tx, work: (step: Tx) => Promise<T>): Promise<T | null> {
  try {
    return await tx.transaction(work);
  } catch (error) {
    if (error instanceof TransactionRollbackError) return null;
    throw error;
  }
}

/**
 * Prolongs the lease. `lost`: stop at once, write nothing. `cancel`, `pause`: stop, then settle.
 */
export async function heartbeat(
  db: Db,
  job: ClaimedJob,
): Promise<'ok' | 'lost' | 'cancel' | 'pause'> {
  return withTenant(db, job.tenantId, async (tx) => {
    const [row] = await tx
      .update(jobs)
      .set({ leaseUntil: leaseEnd(job.leaseMs) })
      .where(held(job))
      .returning({ cancel: jobs.cancelRequested, pause: jobs.pauseRequested });
    if (row === undefined) return 'lost';
    if (row.cancel) return 'cancel';
    return row.pause ? 'pause' : 'ok';
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
  const rows = await tx
    .update(jobs)
    .set({ status: outcome.status, leaseOwner: null, leaseUntil: null, ...consequences(outcome) })
    .where(held(job))
    .returning({ id: jobs.id });
  if (rows.length === 0) throw new LeaseLostError(job);
}

function consequences(outcome: JobOutcome) {
  switch (outcome.status) {
    case 'queued':
      return { runAt: sql`now() + ${outcome.delayMs} * interval '1 millisecond'` };
    case 'paused':
      return { pauseRequested: false };
    case 'failed':
      return { finishedAt: sql`now()`, error: outcome.error };
    case 'succeeded':
    case 'cancelled':
      return { finishedAt: sql`now()`, error: null };
  }
}

/**
 * Cancels the live job of a subject: a queued or paused one at once (`cancelled`), a running one when its
 * worker next beats (`requested`); `none` when no job of it is live.
 */
export async function cancelJob(
  tx: Tx,
  subject: JobSubject,
): Promise<'cancelled' | 'requested' | 'none'> {
  const job = await lockLive(tx, subject);
  if (job === null) return 'none';
  const isRunning = job.status === 'running';
  const cancelled = { status: 'cancelled', finishedAt: sql`now()` } as const;
  await tx
    .update(jobs)
    .set({ cancelRequested: true, ...(isRunning ? {} : cancelled) })
    .where(and(eq(jobs.tenantId, subject.tenantId), eq(jobs.id, job.id)));
  return isRunning ? 'requested' : 'cancelled';
}

/**
 * Pauses the live job of a subject: a queued one at once (`paused`), a running one when its worker
 * next beats (`requested`); `none` when no job of it is live, or it is to be cancelled.
 */
export async function pauseJob(
  tx: Tx,
  subject: JobSubject,
): Promise<'paused' | 'requested' | 'none'> {
  const job = await lockLive(tx, subject);
  if (job === null || job.cancelRequested) return 'none';
  if (job.status === 'paused') return 'paused';
  const isQueued = job.status === 'queued';
  await tx
    .update(jobs)
    .set(isQueued ? { status: 'paused' } : { pauseRequested: true })
    .where(and(eq(jobs.tenantId, subject.tenantId), eq(jobs.id, job.id)));
  return isQueued ? 'paused' : 'requested';
}

/** Queues the paused job of a subject again; false when it has none. */
export async function resumeJob(tx: Tx, subject: JobSubject): Promise<boolean> {
  const job = await lockLive(tx, subject);
  if (job?.status !== 'paused') return false;
  await tx
    .update(jobs)
    .set({ status: 'queued', runAt: sql`now()` })
    .where(and(eq(jobs.tenantId, subject.tenantId), eq(jobs.id, job.id)));
  return true;
}

/** The job of a subject that has not ended, locked until the transaction ends. */
async function lockLive(tx: Tx, subject: JobSubject) {
  const [job] = await tx
    .select({ id: jobs.id, status: jobs.status, cancelRequested: jobs.cancelRequested })
    .from(jobs)
    .where(
      and(
        eq(jobs.tenantId, subject.tenantId),
        eq(jobs.kind, subject.kind),
        eq(jobs.subjectId, subject.subjectId),
        inArray(jobs.status, ['queued', 'running', 'paused']),
      ),
    )
    .for('update');
  return job ?? null;
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
