import { withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { findDataset } from './find.ts';
import { presentDataset } from './present.ts';

export const getDataset: Service<'datasets.get'> = async (ctx, { id }) =>
  presentDataset(await withTenant(ctx.db, ctx.tenant, (tx) => findDataset(tx, ctx.tenant, id)));
