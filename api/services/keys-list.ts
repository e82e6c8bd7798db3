import { and, apiKeys, eq, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { limitsOf } from './key-limits.ts';
import { keyset, pageOf } from './page.ts';
import { presentKey } from './present.ts';

/** The tenant's keys, revoked and expired ones too, newest first. */
export const listKeys: Service<'keys.list'> = async (ctx, input) => {
  const { where, orderBy, limit } = keyset(input, apiKeys.createdAt, apiKeys.id);
  return withTenant(ctx.db, ctx.tenant, async (tx) => {
    const rows = await tx
      .select()
      .from(apiKeys)
      .where(and(eq(apiKeys.tenantId, ctx.tenant), where))
      .orderBy(...orderBy)
      .limit(limit);
    const limits = await limitsOf(tx, ctx.tenant, rows);
    return pageOf(input, rows, (row) => presentKey(row, limits.get(row.lineage) ?? {}));
  });
};
