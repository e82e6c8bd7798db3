import { and, eq, sessions, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { keyset, pageOf } from './page.ts';
import { presentSession } from './present.ts';

export const listSessions: Service<'sessions.list'> = async (ctx, input) => {
  const { where, orderBy, limit } = keyset(input, sessions.createdAt, sessions.id);
  const rows = await withTenant(ctx.db, ctx.tenant, (tx) =>
    tx
      .select()
      .from(sessions)
      .where(and(eq(sessions.tenantId, ctx.tenant), where))
      .orderBy(...orderBy)
      .limit(limit),
  );
  return pageOf(input, rows, presentSession);
};
