import { and, apiKeys, eq, isNull, members } from '@armature/db';
import { ArmatureError, roleScopes } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { findMember } from './find.ts';
import { needAnotherOwner } from './member-owners.ts';
import { mutate } from './mutate.ts';
import { presentMember } from './present.ts';

/** Another role for a person, and its scopes for the person's keys; the same again is no error. */
export const changeMember: Service<'members.change'> = async (ctx, { id, role }) => {
  const { member, keys } = await mutate(ctx, async (tx, note) => {
    await findMember(tx, ctx.tenant, id);
    if (role !== 'owner') await needAnotherOwner(tx, ctx.tenant, id);
    const mine = and(eq(members.tenantId, ctx.tenant), eq(members.id, id));
    const [before] = await tx.select().from(members).where(mine).for('update');
    if (before === undefined) throw new Error('a member that was there is gone');
    if (before.removedAt !== null) {
      throw new ArmatureError('conflict', `member ${id} was removed`, {
        field: 'id',
        fix: 'Invite the person again.',
      });
    }
    if (before.role === role) return { member: presentMember(before), keys: [] };
    const [after] = await tx.update(members).set({ role }).where(mine).returning();
    if (after === undefined) throw new Error('update gave no row');
    const keys = await tx
      .update(apiKeys)
      .set({ scopes: [...roleScopes[role]] })
      .where(
        and(eq(apiKeys.tenantId, ctx.tenant), eq(apiKeys.memberId, id), isNull(apiKeys.revokedAt)),
      )
      .returning({ id: apiKeys.id });
    note(id, { role, was: before.role });
    return { member: presentMember(after), keys };
  });
  for (const key of keys) await ctx.keys.forget(key.id);
  return member;
};
