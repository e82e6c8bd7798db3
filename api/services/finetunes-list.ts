import { and, eq, finetunes, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { attemptsOf } from './finetune-attempts.ts';
import { keyset, pageOf } from './page.ts';
import { presentFinetune } from './present.ts';

export const listFinetunes: Service<'finetunes.list'> = async (ctx, input) => {
  const { where, orderBy, limit } = keyset(input, finetunes.createdAt, finetunes.id);
  return withTenant(ctx.db, ctx.tenant, async (tx) => {
    const rows = await tx
      .select()
      .from(finetunes)
      .where(and(eq(finetunes.tenantId, ctx.tenant), where))
      .orderBy(...orderBy)
      .limit(limit);
    const ids = rows.map(({ id }) => id);
    const attempts = await attemptsOf(tx, ctx.tenant, ids);
    return pageOf(input, rows, (row) => presentFinetune(row, attempts.get(row.id) ?? 0));
  });
};
