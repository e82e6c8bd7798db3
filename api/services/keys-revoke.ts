import { and, apiKeys, eq, sql, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { notFound } from './find.ts';
import { presentKey } from './present.ts';

/** Ends a key at once here, and within seconds in other API processes; again is no error. */
export const revokeKey: Service<'keys.revoke'> = async (ctx, { id }) => {
  const key = await withTenant(ctx.db, ctx.tenant, async (tx) => {
    const [row] = await tx
      .update(apiKeys)
      .set({ revokedAt: sql`coalesce(${apiKeys.revokedAt}, now())` })
      .where(and(eq(apiKeys.tenantId, ctx.tenant), eq(apiKeys.id, id)))
      .returning();
    if (row === undefined) throw notFound('key', id, 'id');
    return presentKey(row);
  });
  await ctx.keys.forget(id);
  return key;
};
