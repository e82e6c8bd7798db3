import {
  and,
  asc,
  auditLog,
  eq,
  inArray,
  isNull,
  lt,
  newId,
  sessions,
  sql,
  withTenant,
} from '@armature/db';
import type { Sweep } from './sweep.ts';

/** A robot whose last token was given so long ago has been without one for most of that time. */
const IDLE_MS = 86_400_000;
/** Sessions of a transaction. */
const BATCH = 500;

/** Ends sessions whose robots went away without ending them. */
export const idleSessions: Sweep = {
  name: 'idle-sessions',
  everyS: 3_600,
  forTenant: async (tenant, { db, clock }) => {
    const before = new Date(clock().getTime() - IDLE_MS);
    const mine = eq(sessions.tenantId, tenant);
    for (let total = 0; ;) {
      const ended = await withTenant(db, tenant, async (tx) => {
        const idle = await tx
          .select({ id: sessions.id })
          .from(sessions)
          .where(and(mine, isNull(sessions.endedAt), lt(sessions.grantedAt, before)))
          .orderBy(asc(sessions.grantedAt))
          .limit(BATCH)
          // One whose robot comes back just now is not idle any more.
          .for('update', { skipLocked: true });
        if (idle.length === 0) return 0;
        const ids = idle.map(({ id }) => id);
        const rows = await tx
          .update(sessions)
          .set({ endedAt: sql`now()` })
          .where(and(mine, inArray(sessions.id, ids)))
          .returning({ id: sessions.id, robot: sessions.robot, grantedAt: sessions.grantedAt });
        await tx.insert(auditLog).values(
          rows.map(({ id, robot, grantedAt }) => ({
            id: newId('aud'),
            tenantId: tenant,
            actor: 'platform',
            verb: 'sessions.expire',
            subjectId: id,
            requestId: 'sweep',
            detail: { robot, granted_at: grantedAt.toISOString() },
          })),
        );
        return rows.length;
      });
      total += ended;
      if (ended < BATCH) return total;
    }
  },
};
