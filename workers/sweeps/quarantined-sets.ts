import { and, auditLog, datasets, eq, lt, newId, withTenant } from '@armature/db';
import type { Sweep, SweepServices } from './sweep.ts';

/**
 * Takes the files of rejected sets away whose time in quarantine is over: nobody accepted or deleted them,
 * and they count against the tenant's quota.
 */
export const quarantinedSets: Sweep = {
  name: 'quarantined-sets',
  everyS: 3_600,
  forTenant: async (tenant, services) => {
    const now = services.clock();
    const found = await withTenant(services.db, tenant, (tx) =>
      tx.select({ id: datasets.id }).from(datasets).where(over(tenant, now)),
    );
    let taken = 0;
    for (const { id } of found) taken += (await takeAway(tenant, id, now, services)) ? 1 : 0;
    return taken;
  },
};

/** Files first: where this ends in between, the row is still there for the next sweep to find. */
async function takeAway(
  tenant: string,
  id: string,
  now: Date,
  { db, store }: SweepServices,
): Promise<boolean> {
  return withTenant(db, tenant, async (tx) => {
    const [row] = await tx
      .select({ name: datasets.name, prefix: datasets.prefix, bytes: datasets.bytes })
      .from(datasets)
      .where(and(over(tenant, now), eq(datasets.id, id)))
      .for('update');
    if (row === undefined) return false;
    const files = await store.deletePrefix(row.prefix.replace(/files\/$/, ''));
    await tx
      .update(datasets)
      .set({ status: 'deleted' })
      .where(and(eq(datasets.tenantId, tenant), eq(datasets.id, id)));
    await tx.insert(auditLog).values({
      id: newId('aud'),
      tenantId: tenant,
      actor: 'platform',
      verb: 'datasets.expire',
      subjectId: id,
      requestId: 'sweep',
      detail: { name: row.name, bytes: row.bytes, files },
    });
    return true;
  });
}

function over(tenant: string, now: Date) {
  return and(
    eq(datasets.tenantId, tenant),
    eq(datasets.status, 'rejected'),
    lt(datasets.quarantinedUntil, now),
  );
}
