import type { Tx } from './connection.ts';
import { reasoningRecords, usageEvents } from './schema.ts';

export type UsageEventRow = typeof usageEvents.$inferInsert;
export type ReasoningRecordRow = typeof reasoningRecords.$inferInsert;

/**
 * Writes a worker's records of one tenant, within `withTenant`. Ids are derived from session, epoch
 * and number, so that a batch that is written again changes nothing. At most 5,000 rows of each.
 */
export async function writeRecords(
  tx: Tx,
  records: { usage: readonly UsageEventRow[]; reasoning: readonly ReasoningRecordRow[] },
): Promise<void> {
  if (records.usage.length > 0) {
    await tx
      .insert(usageEvents)
      .values([...records.usage])
      .onConflictDoNothing();
  }
  if (records.reasoning.length > 0) {
    await tx
      .insert(reasoningRecords)
      .values([...records.reasoning])
      .onConflictDoNothing();
  }
}
