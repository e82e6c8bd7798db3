import { and, eq, isNull, sessions, sql } from '@armature/db';
import type { Service } from './context.ts';
import { findSession } from './find.ts';
import { mutate } from './mutate.ts';
import { presentSession } from './present.ts';

/** Ends a session: it gets no further token; again is no error. */
export const endSession: Service<'sessions.end'> = async (ctx, { id }) =>
  mutate(ctx, async (tx, note) => {
    const mine = and(eq(sessions.tenantId, ctx.tenant), eq(sessions.id, id));
    const [ended] = await tx
      .update(sessions)
      .set({ endedAt: sql`now()` })
      .where(and(mine, isNull(sessions.endedAt)))
      .returning();
    if (ended === undefined) return presentSession(await findSession(tx, ctx.tenant, id));
    note(id);
    return presentSession(ended);
  });
