import { and, eq, lt, sql, webhookDeliveries, withTenant } from '@armature/db';
import type { Sweep } from './sweep.ts';

/** What a webhook was told is kept this long. */
const KEPT_MS = 30 * 86_400_000;

/**
 * Forgets messages that came to their end long ago, and ends those that nothing sends any more: the queue
 * had given up on workers that were lost, one after another.
 */
export const endedDeliveries: Sweep = {
  name: 'ended-deliveries',
  everyS: 3_600,
  forTenant: (tenant, { db, clock }) =>
    withTenant(db, tenant, async (tx) => {
      const isCarried = sql`exists (
        select from pgboss.job where job.name = 'webhook' and job.id = ${webhookDeliveries.jobId}
          and job.state < 'completed')`;
      const lost = await tx
        .update(webhookDeliveries)
        .set({ status: 'failed', error: 'the platform could not send it', endedAt: sql`now()` })
        .where(
          and(
            eq(webhookDeliveries.tenantId, tenant),
            eq(webhookDeliveries.status, 'pending'),
            sql`not ${isCarried}`,
          ),
        )
        .returning({ id: webhookDeliveries.id });
      const before = new Date(clock().getTime() - KEPT_MS);
      const old = await tx
        .delete(webhookDeliveries)
        .where(and(eq(webhookDeliveries.tenantId, tenant), lt(webhookDeliveries.endedAt, before)))
        .returning({ id: webhookDeliveries.id });
      return lost.length + old.length;
    }),
};
