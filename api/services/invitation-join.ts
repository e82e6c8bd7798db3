import { and, apiKeys, eq, invitations, members, newId, sql } from '@armature/db';
import {
  ArmatureError,
  roleScopes,
  type Key,
  type Member,
  type Person,
} from '@armature/sdk/contract';
import type { TenantContext } from './context.ts';
import { notFound } from './find.ts';
import { mutate } from './mutate.ts';
import { presentKey, presentMember } from './present.ts';

export interface Joining {
  /** Id of the invitation. */
  readonly id: string;
  /** Where the caller shows it. */
  readonly field: string;
  /** Who joins, of the invitation's own address; without one the member has a key alone. */
  readonly person?: Person;
  readonly withKey: boolean;
}

export interface Joined {
  readonly member: Member;
  readonly key: Key | null;
  readonly secret: string | null;
}

/**
 * A member by an invitation, once. That it is known, open and in time was seen before, but it may have
 * been used or taken back since.
 * @throws ArmatureError `conflict`; `forbidden` for a person of another address.
 */
export async function joinByInvitation(
  ctx: TenantContext,
  { id, field, person, withKey }: Joining,
): Promise<Joined> {
  const { secret, start, hash } = ctx.keys.mint();
  return mutate(ctx, async (tx, note) => {
    const mine = and(eq(invitations.tenantId, ctx.tenant), eq(invitations.id, id));
    const [invitation] = await tx.select().from(invitations).where(mine).for('update');
    if (invitation === undefined) throw notFound('invitation', id, field);
    const { email, role } = invitation;
    if (person !== undefined && person.email !== email) throw notForYou(field);
    if (invitation.acceptedAt !== null || invitation.revokedAt !== null) {
      const how = invitation.acceptedAt === null ? 'taken back' : 'used';
      throw refused(`the invitation was ${how}`, field);
    }
    const personId = person?.id ?? null;
    const [member] = await tx
      .insert(members)
      .values({ id: newId('mem'), tenantId: ctx.tenant, email, role, personId })
      .onConflictDoNothing()
      .returning();
    if (member === undefined) throw refused(`${email} is a member already`, field);
    const keyId = newId('key');
    const made = withKey
      ? await tx
          .insert(apiKeys)
          .values({
            id: keyId,
            lineage: keyId,
            tenantId: ctx.tenant,
            name: email.slice(0, 120),
            start,
            hash,
            scopes: [...roleScopes[role]],
            memberId: member.id,
          })
          .returning()
      : [];
    await tx
      .update(invitations)
      .set({ acceptedAt: sql`now()`, memberId: member.id })
      .where(mine);
    const [key] = made;
    const detail = { ...(key && { key_id: key.id }), ...(person && { person_id: person.id }) };
    note(member.id, { email, role, ...detail });
    const presented = presentMember(member);
    if (key === undefined) return { member: presented, key: null, secret: null };
    return { member: presented, key: presentKey(key, {}), secret };
  });
}

/** Says no more than that: an invitation may have been passed on. */
export function notForYou(field: string): ArmatureError {
  return new ArmatureError('forbidden', 'no open invitation of your address is known by this', {
    field,
    fix: 'Sign in with the address that was invited, or ask for a new invitation.',
  });
}

function refused(message: string, field: string): ArmatureError {
  return new ArmatureError('conflict', message, {
    field,
    fix: 'Ask an owner of the tenant for a new invitation.',
  });
}
