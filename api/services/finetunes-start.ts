import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { beginFinetune } from './finetune-begin.ts';
import { changeFinetune, lockFinetune } from './finetune-change.ts';
import { estimateCost } from './finetune-cost.ts';
import { namingOf, findFinetuneSets } from './finetune-sets.ts';
import { holderOf } from './key-limits.ts';
import { mutate } from './mutate.ts';
import { needJob } from './quotas.ts';

/** Begins a draft, checked and estimated as if it were made now. */
export const startFinetune: Service<'finetunes.start'> = async (ctx, { id }) =>
  mutate(ctx, async (tx, note) => {
    const row = await lockFinetune(tx, ctx.tenant, id);
    if (row.status !== 'draft') {
      throw new ArmatureError('conflict', `finetune ${id} is ${row.status}, not a draft`, {
        field: 'id',
        fix: 'Only a draft can be started; a paused one can be resumed, a failed one retried.',
      });
    }
    const holder = await holderOf(tx, ctx);
    await needJob(tx, holder);
    const naming = namingOf(row);
    const sets = await findFinetuneSets(tx, ctx.tenant, naming);
    const estimate = await estimateCost(tx, ctx, sets, naming.options);
    const status = await beginFinetune(tx, ctx.tenant, id, sets);
    return changeFinetune(tx, ctx, id, { status, estimate, keyLineage: holder.lineage }, note);
  });
