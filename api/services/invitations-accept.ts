import type { Service } from './context.ts';
import { joinByInvitation } from './invitation-join.ts';

/** A member and the member's key, for the invitation that calls; once. */
export const acceptInvitation: Service<'invitations.accept'> = async (ctx) => {
  const joining = { id: ctx.actor, field: 'authorization', withKey: true };
  const { member, key, secret } = await joinByInvitation(ctx, joining);
  if (key === null || secret === null) throw new Error('no key was made');
  return { member, key, secret };
};
