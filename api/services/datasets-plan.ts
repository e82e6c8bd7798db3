import { and, datasets, eq, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { fileStates, plannedFiles, presignFiles, UPLOAD_EXPIRES_S } from './dataset-files.ts';
import { findDataset } from './find.ts';
import { presentDataset } from './present.ts';

/** The plan again, for the files that are not there yet: how an upload goes on after a break. */
export const planDataset: Service<'datasets.plan'> = async (ctx, { id }) => {
  const expiresAt = new Date(ctx.clock().getTime() + UPLOAD_EXPIRES_S * 1000);
  const { row, files } = await withTenant(ctx.db, ctx.tenant, async (tx) => {
    const found = await findDataset(tx, ctx.tenant, id);
    if (found.status !== 'uploading') return { row: found, files: [] };
    await tx
      .update(datasets)
      .set({ uploadUntil: expiresAt })
      .where(and(eq(datasets.tenantId, ctx.tenant), eq(datasets.id, id)));
    return { row: found, files: await plannedFiles(tx, ctx.tenant, id) };
  });
  const states = await fileStates(ctx.store, row.prefix, files);
  const missing = files.filter((_, index) => states[index] !== 'there');
  return {
    dataset: presentDataset(row),
    parts: await presignFiles(ctx.store, row.prefix, missing),
    expires_at: expiresAt.toISOString(),
  };
};
