import { and, eq, invitations, isNull, members, newId, sql } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { mutate } from './mutate.ts';
import { presentInvitation } from './present.ts';

/** An invitation in place of an open one of the same address; its secret is in this answer alone. */
export const createInvitation: Service<'invitations.create'> = async (ctx, input) => {
  const { email, role, expires_in_s: life } = input;
  const { secret, hash } = ctx.keys.mint('invitation');
  const { invitation, replaced } = await mutate(ctx, async (tx, note) => {
    const [member] = await tx
      .select({ id: members.id })
      .from(members)
      .where(
        and(eq(members.tenantId, ctx.tenant), eq(members.email, email), isNull(members.removedAt)),
      );
    if (member !== undefined) throw isMember(email, member.id);
    const replaced = await tx
      .update(invitations)
      .set({ revokedAt: sql`now()` })
      .where(
        and(
          eq(invitations.tenantId, ctx.tenant),
          eq(invitations.email, email),
          isNull(invitations.acceptedAt),
          isNull(invitations.revokedAt),
        ),
      )
      .returning({ id: invitations.id });
    const [row] = await tx
      .insert(invitations)
      .values({
        id: newId('inv'),
        tenantId: ctx.tenant,
        email,
        role,
        hash,
        invitedBy: ctx.actor,
        expiresAt: new Date(ctx.clock().getTime() + life * 1000),
      })
      .onConflictDoNothing()
      .returning();
    if (row === undefined) {
      throw new ArmatureError('conflict', `${email} is being invited by another request`, {
        field: 'email',
        fix: 'List the invitations, and invite again if need be.',
      });
    }
    note(row.id, { email, role, replaces: replaced.map(({ id }) => id) });
    return { invitation: presentInvitation(row), replaced };
  });
  for (const { id } of replaced) await ctx.keys.forget(id);
  return { invitation, secret };
};

function isMember(email: string, id: string): ArmatureError {
  return new ArmatureError('conflict', `${email} is a member already: ${id}`, {
    field: 'email',
    fix: 'Change the member’s role, or remove the member first.',
  });
}
