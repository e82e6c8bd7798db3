import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { beginFinetune } from './finetune-begin.ts';
import { changeFinetune, lockFinetune } from './finetune-change.ts';
import { estimateCost } from './finetune-cost.ts';
import { findFinetuneSets, namingOf } from './finetune-sets.ts';
import { holderOf } from './key-limits.ts';
import { mutate } from './mutate.ts';
import { needJob } from './quotas.ts';

/**
 * Queues a fine-tune again that has failed, or ended for what the tenant was to mend. It goes on from its
 * last checkpoint, where one was kept.
 */
export const retryFinetune: Service<'finetunes.retry'> = async (ctx, { id }) =>
  mutate(ctx, async (tx, note) => {
    const row = await lockFinetune(tx, ctx.tenant, id);
    if (row.status !== 'failed' && row.status !== 'user_error') {
      throw new ArmatureError('conflict', `finetune ${id} is ${row.status}, it has not failed`, {
        field: 'id',
        fix: 'Only a failed fine-tune can be retried; a paused one can be resumed.',
      });
    }
    const holder = await holderOf(tx, ctx);
    await needJob(tx, holder);
    const naming = namingOf(row);
    const sets = await findFinetuneSets(tx, ctx.tenant, naming);
    const estimate = await estimateCost(tx, ctx, sets, naming.options);
    const status = await beginFinetune(tx, ctx.tenant, id, sets);
    return changeFinetune(
      tx,
      ctx,
      id,
      { status, estimate, keyLineage: holder.lineage, error: null, finishedAt: null },
      note,
    );
  });
