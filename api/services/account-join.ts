import { ArmatureError, routes } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { joinByInvitation, notForYou } from './invitation-join.ts';
import { findCredential } from './keys-find.ts';

/** The person who is signed in becomes a member by an invitation of the person's own address. */
export const joinTenant: Service<'account.join'> = async (
  ctx,
  { invitation, with_key: withKey },
) => {
  const { person, keys, clock, db } = ctx;
  const field = 'invitation';
  if (!person.email_verified) {
    throw new ArmatureError('email_not_verified', `${person.email} is not verified`, {
      fix: 'Open the link that was sent to the address, or have another one sent.',
    });
  }
  const hash = keys.hashInvitation(invitation);
  const found = hash === null ? null : await findCredential.invitation(db, hash);
  if (found === null || found.revokedAt !== null) throw notForYou(field);
  if (found.expiresAt !== null && found.expiresAt <= clock()) throw notForYou(field);
  const answer = await ctx.inTenant(found.tenantId, (inTenant) =>
    joinByInvitation(inTenant, { id: found.id, field, person, withKey }),
  );
  return routes['account.join'].output.parse(answer);
};
