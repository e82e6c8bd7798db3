import { and, datasets, eq, ne, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { keyset, pageOf } from './page.ts';
import { presentDataset } from './present.ts';

/** The sets that are there; one that was deleted is told of by its id. */
export const listDatasets: Service<'datasets.list'> = async (ctx, input) => {
  const { where, orderBy, limit } = keyset(input, datasets.createdAt, datasets.id);
  const rows = await withTenant(ctx.db, ctx.tenant, (tx) =>
    tx
      .select()
      .from(datasets)
      .where(and(eq(datasets.tenantId, ctx.tenant), ne(datasets.status, 'deleted'), where))
      .orderBy(...orderBy)
      .limit(limit),
  );
  return pageOf(input, rows, presentDataset);
};
