import { and, eq, jobs, lt, sql, withTenant } from '@armature/db';
import type { Sweep } from './sweep.ts';

/** A job that waits this long beyond its time is looked at. */
const OVERDUE = sql`now() - interval '1 minute'`;

/**
 * Sends jobs that wait without a piece of work in the queue to it again, by changing when they are due by the
 * least there is: a queue that was emptied, or a database restored without it, would have them wait for ever.
 */
export const uncarriedJobs: Sweep = {
  name: 'uncarried-jobs',
  everyS: 60,
  forTenant: (tenant, { db }) =>
    withTenant(db, tenant, async (tx) => {
      const isCarried = sql`exists (
        select from pgboss.job piece where piece.name = ${jobs.kind} and piece.state < 'active'
          and piece.data->>'job_id' = ${jobs.id})`;
      const sent = await tx
        .update(jobs)
        .set({ runAt: sql`${jobs.runAt} + interval '1 microsecond'` })
        .where(
          and(
            eq(jobs.tenantId, tenant),
            eq(jobs.status, 'queued'),
            lt(jobs.runAt, OVERDUE),
            sql`not ${isCarried}`,
          ),
        )
        .returning({ id: jobs.id });
      return sent.length;
    }),
};
