import { and, eq, invitations, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { keyset, pageOf } from './page.ts';
import { presentInvitation } from './present.ts';

/** The tenant’s invitations, whatever became of them, newest first. */
export const listInvitations: Service<'invitations.list'> = async (ctx, input) => {
  const { where, orderBy, limit } = keyset(input, invitations.createdAt, invitations.id);
  const rows = await withTenant(ctx.db, ctx.tenant, (tx) =>
    tx
      .select()
      .from(invitations)
      .where(and(eq(invitations.tenantId, ctx.tenant), where))
      .orderBy(...orderBy)
      .limit(limit),
  );
  return pageOf(input, rows, presentInvitation);
};
