import {
  and,
  appendEvents,
  auditLog,
  computeUsedS,
  eq,
  finetunes,
  inArray,
  jobs,
  keyLimit,
  newId,
  pauseJob,
  tenantLimit,
  withTenant,
  type Tx,
} from '@armature/db';
import { limitDefaults } from '@armature/sdk/contract';
import type { Sweep } from './sweep.ts';

const LIMIT = 'compute_s_per_month';

/**
 * Pauses fine-tunes whose tenant, or whose key, has used the month's computation up while they waited or ran.
 * They can be resumed when there is some again: their checkpoints stay.
 */
export const spentCompute: Sweep = {
  name: 'spent-compute',
  everyS: 60,
  forTenant: (tenant, { db }) =>
    withTenant(db, tenant, async (tx) => {
      const live = await liveFinetunes(tx, tenant);
      const spent = new Map<string | null, string | null>();
      let paused = 0;
      for (const { id, lineage } of live) {
        if (!spent.has(lineage)) spent.set(lineage, await whatIsSpent(tx, tenant, lineage));
        const why = spent.get(lineage) ?? null;
        if (why !== null && (await pause(tx, tenant, id, why))) paused += 1;
      }
      return paused;
    }),
};

function liveFinetunes(tx: Tx, tenant: string): Promise<{ id: string; lineage: string | null }[]> {
  return tx
    .select({ id: finetunes.id, lineage: finetunes.keyLineage })
    .from(jobs)
    .innerJoin(
      finetunes,
      and(eq(finetunes.tenantId, jobs.tenantId), eq(finetunes.id, jobs.subjectId)),
    )
    .where(
      and(
        eq(jobs.tenantId, tenant),
        eq(jobs.kind, 'finetune'),
        inArray(jobs.status, ['queued', 'running']),
        eq(jobs.pauseRequested, false),
        eq(jobs.cancelRequested, false),
      ),
    );
}

/** Which quota is used up, as the event says it; null where none is. */
async function whatIsSpent(tx: Tx, tenant: string, lineage: string | null): Promise<string | null> {
  const most = (await tenantLimit(tx, tenant, LIMIT)) ?? limitDefaults[LIMIT];
  const used = await computeUsedS(tx, tenant, null);
  if (used > most) return sentence(LIMIT, used, most);
  if (lineage === null) return null;
  const keyMost = await keyLimit(tx, { tenant, lineage }, LIMIT);
  if (keyMost === undefined) return null;
  const keyUsed = await computeUsedS(tx, tenant, lineage);
  return keyUsed > keyMost ? sentence(`${LIMIT}_per_key`, keyUsed, keyMost) : null;
}

function sentence(limit: string, used: number, most: number): string {
  return `${limit}: ${Math.round(used)} is more than the quota of ${most}; resume when there is some again`;
}

/** The job first, as its worker locks it, so that one that is just ending stays as it ends. */
async function pause(tx: Tx, tenant: string, id: string, why: string): Promise<boolean> {
  const done = await pauseJob(tx, { tenantId: tenant, kind: 'finetune', subjectId: id });
  if (done === 'none') return false;
  const status = done === 'paused' ? 'paused' : 'pausing';
  await tx
    .update(finetunes)
    .set({ status })
    .where(and(eq(finetunes.tenantId, tenant), eq(finetunes.id, id)));
  await appendEvents(tx, id, [
    { kind: 'warning', message: why },
    { kind: 'status', message: status },
  ]);
  await tx.insert(auditLog).values({
    id: newId('aud'),
    tenantId: tenant,
    actor: 'platform',
    verb: 'finetunes.pause',
    subjectId: id,
    requestId: 'sweep',
    detail: { status, why },
  });
  return true;
}
