import { and, eq, invitations, isNull, sql } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { notFound } from './find.ts';
import { mutate } from './mutate.ts';
import { presentInvitation } from './present.ts';

/** Takes an invitation back that nobody has accepted; again is no error. */
export const revokeInvitation: Service<'invitations.revoke'> = async (ctx, { id }) => {
  const invitation = await mutate(ctx, async (tx, note) => {
    const mine = and(eq(invitations.tenantId, ctx.tenant), eq(invitations.id, id));
    const [before] = await tx.select().from(invitations).where(mine).for('update');
    if (before === undefined) throw notFound('invitation', id, 'id');
    if (before.acceptedAt !== null) {
      throw new ArmatureError('conflict', `invitation ${id} was accepted`, {
        field: 'id',
        fix: 'Remove the member whom it made.',
      });
    }
    const [revoked] = await tx
      .update(invitations)
      .set({ revokedAt: sql`now()` })
      .where(and(mine, isNull(invitations.revokedAt)))
      .returning();
    if (revoked === undefined) return presentInvitation(before);
    note(id, { email: revoked.email });
    return presentInvitation(revoked);
  });
  await ctx.keys.forget(id);
  return invitation;
};
