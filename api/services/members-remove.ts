import { and, apiKeys, eq, isNull, members, sql } from '@armature/db';
import type { Service } from './context.ts';
import { findMember } from './find.ts';
import { needAnotherOwner } from './member-owners.ts';
import { mutate } from './mutate.ts';
import { presentMember } from './present.ts';

/** Ends a person's part in the tenant and every key of the person; again is no error. */
export const removeMember: Service<'members.remove'> = async (ctx, { id }) => {
  const { member, keys } = await mutate(ctx, async (tx, note) => {
    const before = await findMember(tx, ctx.tenant, id);
    if (before.removedAt === null) await needAnotherOwner(tx, ctx.tenant, id);
    const [removed] = await tx
      .update(members)
      .set({ removedAt: sql`now()` })
      .where(and(eq(members.tenantId, ctx.tenant), eq(members.id, id), isNull(members.removedAt)))
      .returning();
    if (removed === undefined) {
      return { member: presentMember(await findMember(tx, ctx.tenant, id)), keys: [] };
    }
    const keys = await tx
      .update(apiKeys)
      .set({ revokedAt: sql`now()` })
      .where(
        and(eq(apiKeys.tenantId, ctx.tenant), eq(apiKeys.memberId, id), isNull(apiKeys.revokedAt)),
      )
      .returning({ id: apiKeys.id });
    note(id, { email: removed.email, role: removed.role, keys: keys.length });
    return { member: presentMember(removed), keys };
  });
  for (const key of keys) await ctx.keys.forget(key.id);
  return member;
};
