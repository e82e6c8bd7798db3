import { embodiments, newId } from '@armature/db';
import type { Service } from './context.ts';
import { presentEmbodiment } from './present.ts';
import { mutate } from './mutate.ts';

export const createEmbodiment: Service<'embodiments.create'> = async (ctx, { spec }) =>
  mutate(ctx, async (tx, note) => {
    const [row] = await tx
      .insert(embodiments)
      .values({ id: newId('emb'), tenantId: ctx.tenant, spec })
      .returning();
    if (row === undefined) throw new Error('insert gave no row');
    note(row.id, { name: spec.name });
    return presentEmbodiment(row);
  });
