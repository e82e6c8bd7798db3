import { and, eq, inArray, sql } from 'drizzle-orm';
import type { Tx } from './connection.ts';
import { appendEvents } from './events.ts';
import { newId } from './ids.ts';
import { sessionDeviations } from './policy-deviations.ts';
import { auditLog, embodiments, policyVersions, policyWindows } from './schema.ts';

/** What came of a version's attempts. */
export interface Outcomes {
  readonly chunks: number;
  readonly faults: number;
  /** Windows that have any. */
  readonly windows: number;
}

/** A canary beside the version that it may take the place of. */
export interface CanaryRecord {
  readonly embodimentId: string;
  readonly canaryId: string;
  readonly since: Date;
  /** Of its windows since it began that are over. */
  readonly canary: Outcomes;
  /** Of the deployed version's windows of the same time. */
  readonly stable: Outcomes;
  /** The same and the day before. */
  readonly stableBefore: Outcomes;
  /** Of the last look that was due at how far robots stay from where they are to go. */
  readonly deviations: DeviationLook;
}

/**
 * Looks at deviations are due 1, 2, 4, 8 … minutes after a canary began, so that what many looks cost in
 * false alarms stays small; each is at the minutes that were over by then.
 */
export interface DeviationLook {
  /** 1 for the first; 0 before it is due. */
  readonly look: number;
  /** Mean deviation of each session of the canary, and of the deployed version at the same time. */
  readonly canary: readonly number[];
  readonly stable: readonly number[];
}

/** The records of those of these versions that are a canary, within `withTenant`. */
export async function canaryRecords(
  tx: Tx,
  tenantId: string,
  versionIds: readonly string[],
): Promise<CanaryRecord[]> {
  const rows = await tx
    .select()
    .from(embodiments)
    .where(
      and(
        eq(embodiments.tenantId, tenantId),
        inArray(embodiments.canaryPolicyVersionId, [...versionIds]),
      ),
    );
  const records: CanaryRecord[] = [];
  for (const row of rows) {
    const { id: embodimentId, canaryPolicyVersionId: canaryId, canarySince: since } = row;
    const stableId = row.activePolicyVersionId;
    if (canaryId === null || since === null || stableId === null) continue;
    const dayBefore = new Date(since.getTime() - 24 * 3_600_000);
    records.push({
      embodimentId,
      canaryId,
      since,
      canary: await outcomes(tx, tenantId, canaryId, since),
      stable: await outcomes(tx, tenantId, stableId, since),
      stableBefore: await outcomes(tx, tenantId, stableId, dayBefore),
      deviations: await lookAt(tx, tenantId, { canaryId, stableId, since }),
    });
  }
  return records;
}

async function lookAt(
  tx: Tx,
  tenantId: string,
  { canaryId, stableId, since }: { canaryId: string; stableId: string; since: Date },
): Promise<DeviationLook> {
  const minuteMs = 60_000;
  const [row] = await tx.execute<{ over: string }>(
    sql`select extract(epoch from date_trunc('minute', now()) - ${since.toISOString()}::timestamptz) / 60 as over`,
  );
  const over = Number(row?.over ?? 0);
  if (over < 1) return { look: 0, canary: [], stable: [] };
  const doublings = Math.floor(Math.log2(over));
  const until = new Date(since.getTime() + 2 ** doublings * minuteMs);
  return {
    look: doublings + 1,
    canary: await sessionDeviations(tx, tenantId, canaryId, { since, until }),
    stable: await sessionDeviations(tx, tenantId, stableId, { since, until }),
  };
}

/** Of the windows that begin at or after `since` and are over. */
async function outcomes(
  tx: Tx,
  tenantId: string,
  versionId: string,
  since: Date,
): Promise<Outcomes> {
  const { chunks, refused, notFinite, loadFailed, windowAt } = policyWindows;
  const faults = sql`${refused} + ${notFinite} + ${loadFailed}`;
  const [row] = await tx
    .select({
      chunks: sql`coalesce(sum(${chunks}), 0)`.mapWith(Number),
      faults: sql`coalesce(sum(${faults}), 0)`.mapWith(Number),
      windows: sql`count(*)`.mapWith(Number),
    })
    .from(policyWindows)
    .where(
      and(
        eq(policyWindows.tenantId, tenantId),
        eq(policyWindows.policyVersionId, versionId),
        sql`${windowAt} >= ${since.toISOString()}::timestamptz`,
        sql`${windowAt} < date_trunc('minute', now())`,
      ),
    );
  if (row === undefined) throw new Error('sums gave no row');
  return row;
}

/**
 * Ends a canary, so that its embodiment's new sessions get the deployed version alone, with a line in
 * the audit log and a warning in the history of the fine-tune that made it.
 *
 * @param detail numbers that say why.
 * @returns false where that canary has ended already.
 */
export async function rollBackCanary(
  tx: Tx,
  tenantId: string,
  { embodimentId, canaryId, since }: Pick<CanaryRecord, 'embodimentId' | 'canaryId' | 'since'>,
  { message, detail }: { message: string; detail: Readonly<Record<string, number>> },
): Promise<boolean> {
  const ended = await tx
    .update(embodiments)
    .set({ canaryPolicyVersionId: null, canaryShare: null, canarySince: null })
    .where(
      and(
        eq(embodiments.tenantId, tenantId),
        eq(embodiments.id, embodimentId),
        eq(embodiments.canaryPolicyVersionId, canaryId),
        eq(embodiments.canarySince, since),
      ),
    )
    .returning({ stableId: embodiments.activePolicyVersionId });
  const [row] = ended;
  if (row === undefined) return false;
  await tx.insert(auditLog).values({
    id: newId('aud'),
    tenantId,
    actor: 'platform',
    verb: 'policies.rollback',
    subjectId: canaryId,
    requestId: `canary ${since.toISOString()}`,
    detail: { embodiment_id: embodimentId, stable: row.stableId, message, ...detail },
  });
  const [version] = await tx
    .select({ finetuneId: policyVersions.finetuneId })
    .from(policyVersions)
    .where(and(eq(policyVersions.tenantId, tenantId), eq(policyVersions.id, canaryId)));
  const finetuneId = version?.finetuneId ?? null;
  if (finetuneId !== null) {
    await appendEvents(tx, finetuneId, [{ kind: 'warning', message, data: detail }]);
  }
  return true;
}
