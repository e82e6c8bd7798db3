import { resumeJob } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { findFinetune } from './find.ts';
import { changeFinetune, jobOf } from './finetune-change.ts';
import { estimateCost } from './finetune-cost.ts';
import { findFinetuneSets, namingOf } from './finetune-sets.ts';
import { holderOf } from './key-limits.ts';
import { mutate } from './mutate.ts';
import { needJob } from './quotas.ts';

/** Queues a paused fine-tune again; it goes on from its checkpoint. */
export const resumeFinetune: Service<'finetunes.resume'> = async (ctx, { id }) =>
  mutate(ctx, async (tx, note) => {
    const row = await findFinetune(tx, ctx.tenant, id);
    const holder = await holderOf(tx, ctx);
    await needJob(tx, holder);
    if (!(await resumeJob(tx, jobOf(ctx.tenant, id)))) {
      throw new ArmatureError('conflict', `finetune ${id} is ${row.status}, not paused`, {
        field: 'id',
        fix: 'Only a paused fine-tune can be resumed; a failed one can be retried.',
      });
    }
    const naming = namingOf(row);
    const sets = await findFinetuneSets(tx, ctx.tenant, naming);
    const estimate = await estimateCost(tx, ctx, sets, naming.options);
    const changes = { status: 'queued', estimate, keyLineage: holder.lineage } as const;
    return changeFinetune(tx, ctx, id, changes, note);
  });
