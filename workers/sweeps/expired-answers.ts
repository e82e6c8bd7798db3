import { and, eq, idempotencyKeys, lt, withTenant } from '@armature/db';
import type { Sweep } from './sweep.ts';

/** Forgets the answers of idempotency keys whose day is over, of tenants too that send nothing any more. */
export const expiredAnswers: Sweep = {
  name: 'expired-answers',
  everyS: 3_600,
  forTenant: (tenant, { db, clock }) =>
    withTenant(db, tenant, async (tx) => {
      const rows = await tx
        .delete(idempotencyKeys)
        .where(and(eq(idempotencyKeys.tenantId, tenant), lt(idempotencyKeys.expiresAt, clock())))
        .returning({ verb: idempotencyKeys.verb });
      return rows.length;
    }),
};
