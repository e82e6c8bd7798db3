import { and, eq, members, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { keyset, pageOf } from './page.ts';
import { presentMember } from './present.ts';

/** The people of the tenant, those who were removed too, newest first. */
export const listMembers: Service<'members.list'> = async (ctx, input) => {
  const { where, orderBy, limit } = keyset(input, members.createdAt, members.id);
  const rows = await withTenant(ctx.db, ctx.tenant, (tx) =>
    tx
      .select()
      .from(members)
      .where(and(eq(members.tenantId, ctx.tenant), where))
      .orderBy(...orderBy)
      .limit(limit),
  );
  return pageOf(input, rows, presentMember);
};
