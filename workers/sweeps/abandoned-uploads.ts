import { and, auditLog, datasetFiles, datasets, eq, lt, newId, withTenant } from '@armature/db';
import type { Sweep, SweepServices } from './sweep.ts';

/** An upload that nobody goes on with is kept this long after the URLs of its last plan have expired. */
const KEPT_MS = 7 * 86_400_000;

/**
 * Takes away data sets whose upload was never completed, with the parts that had arrived: they count
 * against the tenant's quota. No URL of theirs is good any more, so nothing arrives afterwards.
 */
export const abandonedUploads: Sweep = {
  name: 'abandoned-uploads',
  everyS: 3_600,
  forTenant: async (tenant, services) => {
    const before = new Date(services.clock().getTime() - KEPT_MS);
    const found = await withTenant(services.db, tenant, (tx) =>
      tx.select({ id: datasets.id }).from(datasets).where(abandoned(tenant, before)),
    );
    let taken = 0;
    for (const { id } of found) taken += (await takeAway(tenant, id, before, services)) ? 1 : 0;
    return taken;
  },
};

/** Files first: where this ends in between, the row is still there for the next sweep to find. */
async function takeAway(
  tenant: string,
  id: string,
  before: Date,
  { db, store }: SweepServices,
): Promise<boolean> {
  return withTenant(db, tenant, async (tx) => {
    const [row] = await tx
      .select({ name: datasets.name, prefix: datasets.prefix })
      .from(datasets)
      .where(and(abandoned(tenant, before), eq(datasets.id, id)))
      .for('update');
    if (row === undefined) return false;
    const files = await store.deletePrefix(row.prefix);
    await tx
      .delete(datasetFiles)
      .where(and(eq(datasetFiles.tenantId, tenant), eq(datasetFiles.datasetId, id)));
    await tx.delete(datasets).where(and(eq(datasets.tenantId, tenant), eq(datasets.id, id)));
    await tx.insert(auditLog).values({
      id: newId('aud'),
      tenantId: tenant,
      actor: 'platform',
      verb: 'datasets.abandon',
      subjectId: id,
      requestId: 'sweep',
      detail: { name: row.name, files },
    });
    return true;
  });
}

function abandoned(tenant: string, before: Date) {
  return and(
    eq(datasets.tenantId, tenant),
    eq(datasets.status, 'uploading'),
    lt(datasets.uploadUntil, before),
  );
}
