import { and, apiKeys, eq, invitations, members, newId, sql } from '@armature/db';
import { ArmatureError, roleScopes } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { notFound } from './find.ts';
import { mutate } from './mutate.ts';
import { presentKey, presentMember } from './present.ts';

/**
 * A member and the member's key, for the invitation that calls; once. Whether it is known, open and
 * in time was seen before, but it may have been used or taken back since.
 */
export const acceptInvitation: Service<'invitations.accept'> = async (ctx) => {
  const { secret, start, hash } = ctx.keys.mint();
  return mutate(ctx, async (tx, note) => {
    const mine = and(eq(invitations.tenantId, ctx.tenant), eq(invitations.id, ctx.actor));
    const [invitation] = await tx.select().from(invitations).where(mine).for('update');
    if (invitation === undefined) throw notFound('invitation', ctx.actor, 'authorization');
    if (invitation.acceptedAt !== null || invitation.revokedAt !== null) {
      const how = invitation.acceptedAt === null ? 'taken back' : 'used';
      throw refused(`the invitation was ${how}`);
    }
    const { email, role } = invitation;
    const [member] = await tx
      .insert(members)
      .values({ id: newId('mem'), tenantId: ctx.tenant, email, role })
      .onConflictDoNothing()
      .returning();
    if (member === undefined) throw refused(`${email} is a member already`);
    const [key] = await tx
      .insert(apiKeys)
      .values({
        id: newId('key'),
        tenantId: ctx.tenant,
        name: email.slice(0, 120),
        start,
        hash,
        scopes: [...roleScopes[role]],
        memberId: member.id,
      })
      .returning();
    if (key === undefined) throw new Error('insert gave no row');
    await tx
      .update(invitations)
      .set({ acceptedAt: sql`now()`, memberId: member.id })
      .where(mine);
    note(member.id, { email, role, key_id: key.id });
    return { member: presentMember(member), key: presentKey(key), secret };
  });
};

function refused(message: string): ArmatureError {
  return new ArmatureError('conflict', message, {
    field: 'authorization',
    fix: 'Ask an owner of the tenant for a new invitation.',
  });
}
