import {
  and,
  eq,
  jobEvents,
  jobs,
  lt,
  sql,
  withTenant,
  type ClaimedJob,
  type Db,
} from '@armature/db';

/** How the attempts of a job before the one that runs came to their ends. */
export interface PastAttempts {
  /** Failed for reasons of the platform's. */
  readonly failed: number;
  /** Ended by nobody: their leases ran out. */
  readonly lost: number;
  /** Whether the last one was lost. */
  readonly lastLost: boolean;
}

/**
 * What the event of an attempt that leaves its job alive carries, for `pastAttempts` to tell a worker that
 * stopped or was told to pause from one that failed.
 */
export function endOfAttempt(
  job: ClaimedJob,
  how: 'failed' | 'given back',
): { attempt: number; failed: number } {
  return { attempt: job.attempt, failed: how === 'failed' ? 1 : 0 };
}

/** Reads them from the job's events; an attempt that left none was lost. */
export async function pastAttempts(db: Db, job: ClaimedJob): Promise<PastAttempts> {
  const attempt = sql<number>`(${jobEvents.data} ->> 'attempt')::int`;
  const ended = await withTenant(db, job.tenantId, (tx) =>
    tx
      .select({ attempt, failed: sql<number>`(${jobEvents.data} ->> 'failed')::int` })
      .from(jobEvents)
      .innerJoin(jobs, and(eq(jobs.tenantId, job.tenantId), eq(jobs.id, job.id)))
      .where(
        and(
          eq(jobEvents.tenantId, job.tenantId),
          eq(jobEvents.subjectId, job.subjectId),
          // A retry is a job of its own, whose attempts count from 1 again.
          sql`${jobEvents.at} >= ${jobs.createdAt}`,
          sql`${jobEvents.data} ? 'failed'`,
          lt(attempt, job.attempt),
        ),
      ),
  );
  const before = job.attempt - 1;
  return {
    failed: ended.filter(({ failed }) => failed === 1).length,
    lost: before - ended.length,
    lastLost: before > 0 && !ended.some((one) => one.attempt === before),
  };
}
