import { appendEvents, finetunes, newId } from '@armature/db';
import type { Service } from './context.ts';
import { estimateCost } from './finetune-cost.ts';
import { findFinetuneSets } from './finetune-sets.ts';
import { beginFinetune } from './finetune-begin.ts';
import { holderOf } from './key-limits.ts';
import { presentFinetune } from './present.ts';
import { mutate } from './mutate.ts';
import { needJob } from './quotas.ts';

/** A fine-tune of the data sets' embodiment: begun, or a draft that takes no place. */
export const createFinetune: Service<'finetunes.create'> = async (ctx, input) =>
  mutate(ctx, async (tx, note) => {
    const holder = await holderOf(tx, ctx);
    if (input.start) await needJob(tx, holder);
    const sets = await findFinetuneSets(tx, ctx.tenant, input);
    const { dataset } = sets;
    const estimate = await estimateCost(tx, ctx, sets, input.options);
    const id = newId('ft');
    const status = input.start ? await beginFinetune(tx, ctx.tenant, id, sets) : 'draft';
    const [row] = await tx
      .insert(finetunes)
      .values({
        id,
        tenantId: ctx.tenant,
        name: input.name,
        embodimentId: dataset.embodimentId,
        datasetId: dataset.id,
        addedDatasetIds: [...input.added_dataset_ids],
        heldoutDatasetId: input.heldout_dataset_id ?? null,
        options: input.options,
        estimate,
        status,
        keyLineage: holder.lineage,
      })
      .returning();
    if (row === undefined) throw new Error('insert gave no row');
    await appendEvents(tx, id, [{ kind: 'status', message: status }]);
    note(id, { name: row.name, dataset_id: dataset.id, status });
    return presentFinetune(row, 0);
  });
