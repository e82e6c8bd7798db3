import { withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { findEmbodiment } from './find.ts';
import { presentEmbodiment } from './present.ts';

export const getEmbodiment: Service<'embodiments.get'> = async (ctx, { id }) =>
  presentEmbodiment(
    await withTenant(ctx.db, ctx.tenant, (tx) => findEmbodiment(tx, ctx.tenant, id)),
  );
