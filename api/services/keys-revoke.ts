import { and, apiKeys, eq, isNull, sql } from '@armature/db';
import type { Service } from './context.ts';
import { findKeyById } from './find.ts';
import { mutate } from './mutate.ts';
import { presentKey } from './present.ts';

/** Ends a key at once here, and within seconds in other API processes; again is no error. */
export const revokeKey: Service<'keys.revoke'> = async (ctx, { id }) => {
  const key = await mutate(ctx, async (tx, note) => {
    const mine = and(eq(apiKeys.tenantId, ctx.tenant), eq(apiKeys.id, id));
    const [revoked] = await tx
      .update(apiKeys)
      .set({ revokedAt: sql`now()` })
      .where(and(mine, isNull(apiKeys.revokedAt)))
      .returning();
    if (revoked === undefined) return presentKey(await findKeyById(tx, ctx.tenant, id));
    note(id, { name: revoked.name });
    return presentKey(revoked);
  });
  await ctx.keys.forget(id);
  return key;
};
