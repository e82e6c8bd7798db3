import { and, eq, invitations, isNull, lt, withTenant } from '@armature/db';
import type { Sweep } from './sweep.ts';

/** An invitation that nobody accepted is listed this long after it expired. */
const KEPT_MS = 30 * 86_400_000;

/** Forgets invitations that nobody accepted in time; those that were accepted say how a member came. */
export const expiredInvitations: Sweep = {
  name: 'expired-invitations',
  everyS: 3_600,
  forTenant: (tenant, { db, clock }) =>
    withTenant(db, tenant, async (tx) => {
      const before = new Date(clock().getTime() - KEPT_MS);
      const rows = await tx
        .delete(invitations)
        .where(
          and(
            eq(invitations.tenantId, tenant),
            isNull(invitations.acceptedAt),
            lt(invitations.expiresAt, before),
          ),
        )
        .returning({ id: invitations.id });
      return rows.length;
    }),
};
