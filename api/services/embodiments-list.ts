import { and, embodiments, eq, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { keyset, pageOf } from './page.ts';
import { presentEmbodiment } from './present.ts';

export const listEmbodiments: Service<'embodiments.list'> = async (ctx, input) => {
  const { where, orderBy, limit } = keyset(input, embodiments.createdAt, embodiments.id);
  const rows = await withTenant(ctx.db, ctx.tenant, (tx) =>
    tx
      .select()
      .from(embodiments)
      .where(and(eq(embodiments.tenantId, ctx.tenant), where))
      .orderBy(...orderBy)
      .limit(limit),
  );
  return pageOf(input, rows, presentEmbodiment);
};
