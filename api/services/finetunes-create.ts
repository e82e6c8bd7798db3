import { appendEvents, enqueue, finetunes, newId, type datasets } from '@armature/db';
import {
  ArmatureError,
  embodimentSpecSchema,
  type EmbodimentSpec,
  type FinetuneOptions,
} from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { findDataset, findEmbodiment } from './find.ts';
import { presentFinetune } from './present.ts';
import { mutate } from './mutate.ts';
import { needJob } from './quotas.ts';

type DatasetRow = typeof datasets.$inferSelect;

/** A fine-tune of the data set's embodiment, with the job that runs it. */
export const createFinetune: Service<'finetunes.create'> = async (ctx, input) =>
  mutate(ctx, async (tx, note) => {
    await needJob(tx, ctx.tenant);
    const dataset = await findDataset(tx, ctx.tenant, input.dataset_id, 'dataset_id');
    checkReady(dataset, 'dataset_id');
    if (input.heldout_dataset_id !== undefined) {
      const field = 'heldout_dataset_id';
      if (input.heldout_dataset_id === dataset.id) {
        throw new ArmatureError('invalid_request', `${field}: is the training set itself`, {
          field,
          fix: 'Hold out another data set, or leave it out.',
        });
      }
      const heldout = await findDataset(tx, ctx.tenant, input.heldout_dataset_id, field);
      checkReady(heldout, field);
      if (heldout.embodimentId !== dataset.embodimentId) {
        throw new ArmatureError(
          'embodiment_mismatch',
          `${field}: is of embodiment ${heldout.embodimentId}, the data set of ${dataset.embodimentId}`,
          { field, fix: 'Hold out episodes of the same embodiment.' },
        );
      }
    }
    const embodiment = await findEmbodiment(tx, ctx.tenant, dataset.embodimentId, 'dataset_id');
    checkReference(embodimentSpecSchema.parse(embodiment.spec), input.options);
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
        status: 'queued',
      })
      .returning();
    if (row === undefined) throw new Error('insert gave no row');
    await enqueue(tx, { tenantId: ctx.tenant, kind: 'finetune', subjectId: id });
    await appendEvents(tx, id, [{ kind: 'status', message: 'queued' }]);
    note(id, { name: row.name, dataset_id: dataset.id });
    return presentFinetune(row, 0);
  });

function checkReady(dataset: DatasetRow, field: string): void {
  switch (dataset.status) {
    case 'ready':
      return;
    case 'uploading':
      throw new ArmatureError('incomplete_upload', `${field}: ${dataset.id} is not uploaded yet`, {
        field,
        fix: 'Finish the upload and complete the data set first.',
      });
    case 'validating':
      throw new ArmatureError('conflict', `${field}: ${dataset.id} is still being validated`, {
        field,
        fix: 'Wait until the data set is ready.',
      });
    case 'rejected':
      throw new ArmatureError('invalid_dataset', `${field}: ${dataset.id} was rejected`, {
        field,
        fix: 'Read the findings of its report, correct the data and upload it as a new set.',
      });
  }
}

/** A relative action is measured from the joint of its name, so the state must have that joint. */
function checkReference(spec: EmbodimentSpec, options: FinetuneOptions): void {
  const { reference } = options;
  if (reference === undefined || reference === 'absolute') return;
  const state = new Set(spec.state.map(({ name }) => name));
  const lacking = spec.action.find(({ name }) => !state.has(name));
  if (lacking === undefined) return;
  throw new ArmatureError(
    'invalid_request',
    `options.reference: actions cannot be relative (${reference}), the state has no joint ${lacking.name}`,
    { field: 'options.reference', fix: 'Use reference absolute, or leave it to the embodiment.' },
  );
}
