import { eq, sql } from 'drizzle-orm';
import type { Tx } from './connection.ts';
import { countDeviations, type Deviation } from './policy-deviations.ts';
import { countAttempts, type Attempt } from './policy-windows.ts';
import {
  policyFaults,
  reasoningRecords,
  trainingUsage,
  usageCursors,
  usageEvents,
} from './schema.ts';
import { lockUsage } from './usage-windows.ts';

export type UsageEventRow = Omit<typeof usageEvents.$inferInsert, 'windowAt'> & {
  /** How far the robot was from where the chunk before had it go. */
  deviation?: number;
};
export type PolicyFaultRow = typeof policyFaults.$inferInsert;
export type ReasoningRecordRow = typeof reasoningRecords.$inferInsert;
export type TrainingUsageRow = Omit<typeof trainingUsage.$inferInsert, 'at' | 'windowAt'>;

/**
 * Writes a worker's records of one tenant, within `withTenant`, and counts chunks and faults in their
 * versions' windows. Ids are derived from session, epoch and number, so that a batch that is written
 * again changes nothing. At most 5,000 rows of each.
 */
export async function writeRecords(
  tx: Tx,
  records: {
    usage: readonly UsageEventRow[];
    reasoning: readonly ReasoningRecordRow[];
    faults: readonly PolicyFaultRow[];
  },
): Promise<void> {
  const attempts: Attempt[] = [];
  const deviations: Deviation[] = [];
  if (records.usage.length > 0) {
    const rows = await inOpenWindows(tx, records.usage);
    const written = await tx
      .insert(usageEvents)
      .values(rows)
      .onConflictDoNothing()
      .returning({ id: usageEvents.id });
    const ids = new Set(written.map(({ id }) => id));
    for (const { id, policyVersionId, sessionId, deviation } of records.usage) {
      if (!ids.delete(id)) continue;
      attempts.push({ policyVersionId, outcome: 'chunk' });
      if (deviation !== undefined) deviations.push({ policyVersionId, sessionId, deviation });
    }
  }
  if (records.faults.length > 0) {
    const written = await tx
      .insert(policyFaults)
      .values([...records.faults])
      .onConflictDoNothing()
      .returning({ policyVersionId: policyFaults.policyVersionId, outcome: policyFaults.fault });
    attempts.push(...written);
  }
  if (records.reasoning.length > 0) {
    await tx
      .insert(reasoningRecords)
      .values([...records.reasoning])
      .onConflictDoNothing();
  }
  // Last: the counts of a version are locked from here to the end of the transaction.
  await countAttempts(tx, attempts);
  await countDeviations(tx, deviations);
}

/** Writes what an attempt of a fine-tune took until now, once however often it is written. */
export async function writeTrainingUsage(tx: Tx, row: TrainingUsageRow): Promise<void> {
  const [clock] = await tx.execute<{ ms: number }>(
    sql`select extract(epoch from now())::float8 * 1000 as ms`,
  );
  if (clock === undefined) throw new Error('now() gave no row');
  const rows = await inOpenWindows(tx, [{ ...row, at: new Date(clock.ms) }]);
  await tx.insert(trainingUsage).values(rows).onConflictDoNothing();
}

/** What comes after its window was closed counts in the first that is open. */
async function inOpenWindows<R extends { at: Date }>(
  tx: Tx,
  rows: readonly R[],
): Promise<(R & { windowAt: Date })[]> {
  await lockUsage(tx, 'write');
  const [cursor] = await tx
    .select()
    .from(usageCursors)
    .where(eq(usageCursors.tenantId, sql`armature_tenant()`));
  const closed = cursor?.closedUntil ?? null;
  return rows.map((row) => ({
    ...row,
    windowAt: closed !== null && closed > row.at ? closed : row.at,
  }));
}
