import {
  and,
  cancelJob,
  datasets,
  eq,
  finetunes,
  notInArray,
  or,
  sql,
  type Tx,
} from '@armature/db';
import { ArmatureError, endedFinetuneStatuses } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { findDataset } from './find.ts';
import { mutate } from './mutate.ts';
import { presentDataset } from './present.ts';

/**
 * Takes a set's files away, and gives their place in the quota back; its row and its digest in the versions
 * that were trained on it stay. Again is no error, and takes away what is left.
 */
export const deleteDataset: Service<'datasets.delete'> = async (ctx, { id }) => {
  const { row, folder } = await mutate(ctx, async (tx, note) => {
    await findDataset(tx, ctx.tenant, id);
    // The job first, as its worker locks it.
    const ended = await cancelJob(tx, { tenantId: ctx.tenant, kind: 'ingest', subjectId: id });
    const before = await findDataset(tx, ctx.tenant, id, 'id', 'update');
    const folder = before.prefix.replace(/files\/$/, '');
    if (before.status === 'deleted') return { row: before, folder };
    // Without a job: its upload was completed between the two looks.
    if (before.status === 'validating' && ended !== 'cancelled') throw isValidated(id);
    await needUnused(tx, ctx.tenant, id);
    const [deleted] = await tx
      .update(datasets)
      .set({ status: 'deleted' })
      .where(and(eq(datasets.tenantId, ctx.tenant), eq(datasets.id, id)))
      .returning();
    if (deleted === undefined) throw new Error('update gave no row');
    note(id, { name: deleted.name, bytes: deleted.bytes });
    return { row: deleted, folder };
  });
  // What this leaves where it is cut off, a sweep takes away.
  await ctx.store.deletePrefix(folder);
  return presentDataset(row);
};

function isValidated(id: string): ArmatureError {
  return new ArmatureError('conflict', `data set ${id} is being validated`, {
    field: 'id',
    fix: 'Wait until it is ready or rejected.',
  });
}

/** @throws ArmatureError `conflict` naming a fine-tune that has not ended and reads the set. */
async function needUnused(tx: Tx, tenant: string, id: string): Promise<void> {
  const [using] = await tx
    .select({ id: finetunes.id, status: finetunes.status })
    .from(finetunes)
    .where(
      and(
        eq(finetunes.tenantId, tenant),
        notInArray(finetunes.status, [...endedFinetuneStatuses]),
        or(
          eq(finetunes.datasetId, id),
          eq(finetunes.heldoutDatasetId, id),
          sql`${id} = any(${finetunes.addedDatasetIds})`,
        ),
      ),
    )
    .limit(1);
  if (using === undefined) return;
  throw new ArmatureError(
    'conflict',
    `fine-tune ${using.id} (${using.status}) uses data set ${id}`,
    {
      field: 'id',
      fix: `Wait until ${using.id} has ended, or cancel it.`,
    },
  );
}
