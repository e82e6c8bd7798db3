import { and, eq, lt, policyDeviations, withTenant } from '@armature/db';
import type { Sweep } from './sweep.ts';

/** A canary that has run for longer than this is judged by what came last. */
const KEPT_MS = 30 * 86_400_000;

/** Forgets how far robots were, long ago, from where their chunks had them go: a row a session and minute. */
export const oldDeviations: Sweep = {
  name: 'old-deviations',
  everyS: 86_400,
  forTenant: (tenant, { db, clock }) =>
    withTenant(db, tenant, async (tx) => {
      const before = new Date(clock().getTime() - KEPT_MS);
      const { tenantId, windowAt, sessionId } = policyDeviations;
      const rows = await tx
        .delete(policyDeviations)
        .where(and(eq(tenantId, tenant), lt(windowAt, before)))
        .returning({ sessionId });
      return rows.length;
    }),
};
