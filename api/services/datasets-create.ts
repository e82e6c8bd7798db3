import { datasetFiles, datasets, newId } from '@armature/db';
import type { Service } from './context.ts';
import { checkPaths, checkParts } from './dataset-checks.ts';
import { UPLOAD_EXPIRES_S } from './dataset-files.ts';
import { presignFiles } from './dataset-plan.ts';
import { findEmbodiment } from './find.ts';
import { holderOf } from './key-limits.ts';
import { presentDataset } from './present.ts';
import { mutate } from './mutate.ts';
import { needStorage } from './quotas.ts';

/** Rows an INSERT carries: six parameters each, of the 65,535 that a statement may have. */
const ROWS_A_STATEMENT = 5_000;

/** A set to be filled: the plan names one exact upload for each of its files, or for each of their parts. */
export const createDataset: Service<'datasets.create'> = async (ctx, input) => {
  checkPaths(input.files);
  checkParts(input.files, ctx.store.minPartBytes);
  const id = newId('ds');
  const prefix = `tenants/${ctx.tenant}/datasets/${id}/files/`;
  const expiresAt = new Date(ctx.clock().getTime() + UPLOAD_EXPIRES_S * 1000);
  const dataset = await mutate(ctx, async (tx, note) => {
    await findEmbodiment(tx, ctx.tenant, input.embodiment_id, 'embodiment_id');
    const bytes = input.files.reduce((sum, { size }) => sum + size, 0);
    const holder = await holderOf(tx, ctx);
    await needStorage(tx, holder, bytes);
    const [row] = await tx
      .insert(datasets)
      .values({
        id,
        tenantId: ctx.tenant,
        embodimentId: input.embodiment_id,
        name: input.name,
        status: 'uploading',
        prefix,
        bytes,
        files: input.files.length,
        uploadUntil: expiresAt,
        keyLineage: holder.lineage,
      })
      .returning();
    if (row === undefined) throw new Error('insert gave no row');
    for (let start = 0; start < input.files.length; start += ROWS_A_STATEMENT) {
      const rows = input.files.slice(start, start + ROWS_A_STATEMENT);
      await tx
        .insert(datasetFiles)
        .values(rows.map((file) => ({ ...file, tenantId: ctx.tenant, datasetId: id })));
    }
    note(id, { name: row.name, files: row.files, bytes: row.bytes });
    return presentDataset(row);
  });
  return {
    dataset,
    parts: await presignFiles(
      ctx,
      { id, prefix },
      input.files.map(({ parts = null, ...file }) => ({
        ...file,
        parts,
        uploadId: null,
        isVerified: false,
      })),
    ),
    expires_at: expiresAt.toISOString(),
  };
};
