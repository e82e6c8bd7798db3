import {
  and,
  auditLog,
  eq,
  finetunes,
  isNull,
  lt,
  newId,
  notInArray,
  policyVersions,
  sessions,
  sql,
  withTenant,
  type Db,
} from '@armature/db';
import { endedFinetuneStatuses } from '@armature/sdk/contract';
import type { Sweep } from './sweep.ts';

/** A retired version's files are kept this long. */
const KEPT_MS = 30 * 86_400_000;

/**
 * Lets versions expire that were retired long ago, unless a robot still has one or a fine-tune goes on from
 * it. Their objects, where no other version has the same, are then what `orphan-objects` takes away.
 */
export const retiredVersions: Sweep = {
  name: 'retired-versions',
  everyS: 3_600,
  forTenant: async (tenant, { db, clock }) => {
    const before = new Date(clock().getTime() - KEPT_MS);
    const found = await withTenant(db, tenant, (tx) =>
      tx.select({ id: policyVersions.id }).from(policyVersions).where(retired(tenant, before)),
    );
    let expired = 0;
    for (const { id } of found) expired += (await expire(db, tenant, id, before)) ? 1 : 0;
    return expired;
  },
};

async function expire(db: Db, tenant: string, id: string, before: Date): Promise<boolean> {
  return withTenant(db, tenant, async (tx) => {
    // Whoever begins a fine-tune that goes on from it holds the row.
    const [row] = await tx
      .select({ name: policyVersions.name, bytes: policyVersions.bytes })
      .from(policyVersions)
      .where(and(retired(tenant, before), eq(policyVersions.id, id)))
      .for('update');
    if (row === undefined) return false;
    const [robot] = await tx
      .select({ id: sessions.id })
      .from(sessions)
      .where(
        and(
          eq(sessions.tenantId, tenant),
          eq(sessions.policyVersionId, id),
          isNull(sessions.endedAt),
        ),
      )
      .limit(1);
    const [finetune] = await tx
      .select({ id: finetunes.id })
      .from(finetunes)
      .where(
        and(
          eq(finetunes.tenantId, tenant),
          notInArray(finetunes.status, [...endedFinetuneStatuses]),
          sql`${finetunes.options}->>'base_policy_version_id' = ${id}`,
        ),
      )
      .limit(1);
    if (robot !== undefined || finetune !== undefined) return false;
    await tx
      .update(policyVersions)
      .set({ expiredAt: sql`now()` })
      .where(and(eq(policyVersions.tenantId, tenant), eq(policyVersions.id, id)));
    await tx.insert(auditLog).values({
      id: newId('aud'),
      tenantId: tenant,
      actor: 'platform',
      verb: 'policies.expire',
      subjectId: id,
      requestId: 'sweep',
      detail: { name: row.name, bytes: row.bytes },
    });
    return true;
  });
}

function retired(tenant: string, before: Date) {
  return and(
    eq(policyVersions.tenantId, tenant),
    lt(policyVersions.retiredAt, before),
    isNull(policyVersions.expiredAt),
  );
}
