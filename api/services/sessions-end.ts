import { and, eq, sessions, sql, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { notFound } from './find.ts';
import { presentSession } from './present.ts';

/** Ends a session: it gets no further token; again is no error. */
export const endSession: Service<'sessions.end'> = async (ctx, { id }) =>
  withTenant(ctx.db, ctx.tenant, async (tx) => {
    const [row] = await tx
      .update(sessions)
      .set({ endedAt: sql`coalesce(${sessions.endedAt}, now())` })
      .where(and(eq(sessions.tenantId, ctx.tenant), eq(sessions.id, id)))
      .returning();
    if (row === undefined) throw notFound('session', id, 'id');
    return presentSession(row);
  });
