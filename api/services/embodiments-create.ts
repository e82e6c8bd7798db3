import { embodiments, newId, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { presentEmbodiment } from './present.ts';

export const createEmbodiment: Service<'embodiments.create'> = async (ctx, { spec }) =>
  withTenant(ctx.db, ctx.tenant, async (tx) => {
    const [row] = await tx
      .insert(embodiments)
      .values({ id: newId('emb'), tenantId: ctx.tenant, spec })
      .returning();
    if (row === undefined) throw new Error('insert gave no row');
    return presentEmbodiment(row);
  });
