import { and, apiKeys, eq, isNull, sql } from '@armature/db';
import type { Service } from './context.ts';
import { findKeyById } from './find.ts';
import { limitsOfKey } from './key-limits.ts';
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
    const row = revoked ?? (await findKeyById(tx, ctx.tenant, id));
    if (revoked !== undefined) note(id, { name: revoked.name });
    return presentKey(row, await limitsOfKey(tx, ctx.tenant, row));
  });
  await ctx.keys.forget(id);
  return key;
};
