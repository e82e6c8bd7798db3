import { withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { estimateCost } from './finetune-cost.ts';
import { findFinetuneSets } from './finetune-sets.ts';

/** What a fine-tune would take and cost, refused where its creation would be. */
export const estimateFinetune: Service<'finetunes.estimate'> = async (ctx, input) =>
  withTenant(ctx.db, ctx.tenant, async (tx) => {
    const sets = await findFinetuneSets(tx, ctx.tenant, input);
    return estimateCost(tx, ctx, sets, input.options);
  });
