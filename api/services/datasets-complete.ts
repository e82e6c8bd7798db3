import {
  and,
  appendEvents,
  datasetFiles,
  datasets,
  enqueue,
  eq,
  sql,
  withTenant,
} from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import {
  fileState,
  mapLimited,
  plannedFiles,
  type FileState,
  type PlannedFile,
} from './dataset-files.ts';
import { isLarge, joinParts } from './dataset-parts.ts';
import { findDataset } from './find.ts';
import { mutate } from './mutate.ts';
import { presentDataset } from './present.ts';

/**
 * Closes an upload: parts are joined, and every planned file must lie in the store with its size and sha256.
 * Then the set is validated by a job that is queued with the change of its status. Again is no error.
 */
export const completeDataset: Service<'datasets.complete'> = async (ctx, { id }) => {
  const { row, files } = await withTenant(ctx.db, ctx.tenant, async (tx) => ({
    row: await findDataset(tx, ctx.tenant, id),
    files: await plannedFiles(tx, ctx.tenant, id),
  }));
  if (row.status === 'deleted') {
    throw new ArmatureError('conflict', `data set ${id} was deleted`, {
      field: 'id',
      fix: 'Create a data set and upload the files to it.',
    });
  }
  if (row.status !== 'uploading') return presentDataset(row);
  const states = await mapLimited(files, (file) =>
    isLarge(file) ? joinParts(ctx, row, file) : fileState(ctx.store, row.prefix, file),
  );
  states.forEach((state, index) => {
    const file = files[index];
    if (state.is !== 'there' && file !== undefined) throw unfinished(state, file, states);
  });
  return mutate(ctx, async (tx, note) => {
    const mine = and(eq(datasets.tenantId, ctx.tenant), eq(datasets.id, id));
    const [closed] = await tx
      .update(datasets)
      .set({ status: 'validating' })
      .where(and(mine, eq(datasets.status, 'uploading')))
      .returning();
    if (closed === undefined) return presentDataset(await findDataset(tx, ctx.tenant, id));
    await tx
      .update(datasetFiles)
      .set({ uploadedAt: sql`now()` })
      .where(and(eq(datasetFiles.tenantId, ctx.tenant), eq(datasetFiles.datasetId, id)));
    await enqueue(tx, { tenantId: ctx.tenant, kind: 'ingest', subjectId: id });
    await appendEvents(tx, id, [{ kind: 'status', message: 'uploaded, waits for validation' }]);
    note(id);
    return presentDataset(closed);
  });
};

function unfinished(
  state: FileState,
  file: PlannedFile,
  states: readonly FileState[],
): ArmatureError {
  const open = states.filter((one) => one.is !== 'there').length;
  const rest = open === 1 ? '' : ` (${open} of ${states.length} files are not complete)`;
  const fix = 'Ask for the upload plan again and send the files that it lists.';
  if (state.is === 'other_sum') {
    return new ArmatureError(
      'checksum_mismatch',
      `${file.path} is there with another sha256 than planned${rest}`,
      { field: file.path, fix },
    );
  }
  return new ArmatureError('incomplete_upload', `${file.path} ${whatIs(state, file)}${rest}`, {
    field: file.path,
    fix,
  });
}

function whatIs(state: FileState, { size, parts }: PlannedFile): string {
  if (state.is !== 'missing') return `is there with another size than ${size}`;
  if (state.missingParts === undefined || parts === null) return 'is not there';
  return `lacks ${state.missingParts} of its ${parts.length} parts`;
}
