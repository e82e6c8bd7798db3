import { and, apiKeys, eq, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { keyset, pageOf } from './page.ts';
import { presentKey } from './present.ts';

/** The tenant's keys, revoked and expired ones too, newest first. */
export const listKeys: Service<'keys.list'> = async (ctx, input) => {
  const { where, orderBy, limit } = keyset(input, apiKeys.createdAt, apiKeys.id);
  const rows = await withTenant(ctx.db, ctx.tenant, (tx) =>
    tx
      .select()
      .from(apiKeys)
      .where(and(eq(apiKeys.tenantId, ctx.tenant), where))
      .orderBy(...orderBy)
      .limit(limit),
  );
  return pageOf(input, rows, presentKey);
};
