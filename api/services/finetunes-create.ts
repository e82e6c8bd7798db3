import { appendEvents, enqueue, finetunes, newId } from '@armature/db';
import type { Service } from './context.ts';
import { estimateCost } from './finetune-cost.ts';
import { findFinetuneSets } from './finetune-sets.ts';
import { presentFinetune } from './present.ts';
import { mutate } from './mutate.ts';
import { needJob } from './quotas.ts';

/** A fine-tune of the data set's embodiment, with the job that runs it. */
export const createFinetune: Service<'finetunes.create'> = async (ctx, input) =>
  mutate(ctx, async (tx, note) => {
    await needJob(tx, ctx.tenant);
    const sets = await findFinetuneSets(tx, ctx.tenant, input);
    const { dataset } = sets;
    const estimate = await estimateCost(tx, ctx, sets, input.options);
    const id = newId('ft');
    const [row] = await tx
      .insert(finetunes)
      .values({
        id,
        tenantId: ctx.tenant,
        name: input.name,
        embodimentId: dataset.embodimentId,
        datasetId: dataset.id,
        heldoutDatasetId: input.heldout_dataset_id ?? null,
        options: input.options,
        estimate,
        status: 'queued',
      })
      .returning();
    if (row === undefined) throw new Error('insert gave no row');
    await enqueue(tx, { tenantId: ctx.tenant, kind: 'finetune', subjectId: id });
    await appendEvents(tx, id, [{ kind: 'status', message: 'queued' }]);
    note(id, { name: row.name, dataset_id: dataset.id });
    return presentFinetune(row, 0);
  });
