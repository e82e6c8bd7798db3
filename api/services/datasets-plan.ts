import { and, datasets, eq, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { fileState, mapLimited, plannedFiles, UPLOAD_EXPIRES_S } from './dataset-files.ts';
import { isLarge } from './dataset-parts.ts';
import { presignFiles } from './dataset-plan.ts';
import { findDataset } from './find.ts';
import { presentDataset } from './present.ts';

/** The plan again, for the files and parts that are not there yet: how an upload goes on after a break. */
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
  const missing = await mapLimited(files, async (file) => {
    // What has come by parts is looked at part by part, and read as a whole where the set is completed.
    const isOpen = isLarge(file) || (await fileState(ctx.store, row.prefix, file)).is !== 'there';
    return isOpen ? [file] : [];
  });
  return {
    dataset: presentDataset(row),
    parts: await presignFiles(ctx, row, missing.flat()),
    expires_at: expiresAt.toISOString(),
  };
};
