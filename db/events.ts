import { eq, max, sql } from 'drizzle-orm';
import type { Tx } from './connection.ts';
import { jobEvents, type JobEventKind } from './schema.ts';

export interface NewJobEvent {
  kind: JobEventKind;
  message: string;
  data?: Readonly<Record<string, number>>;
}

/**
 * Appends lines to the history of a fine-tune or data set, within `withTenant`. `seq` goes on
 * without a gap; writers of one subject wait for each other until their transactions end.
 */
export async function appendEvents(
  tx: Tx,
  subjectId: string,
  events: readonly NewJobEvent[],
): Promise<void> {
  if (events.length === 0) return;
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${subjectId}, 0))`);
  const [last] = await tx
    .select({ seq: max(jobEvents.seq) })
    .from(jobEvents)
    .where(eq(jobEvents.subjectId, subjectId));
  const before = last?.seq ?? 0;
  await tx.insert(jobEvents).values(
    events.map(({ kind, message, data }, index) => ({
      tenantId: sql`armature_tenant()`,
      subjectId,
      seq: before + 1 + index,
      at: sql`clock_timestamp()`,
      kind,
      message,
      data: data ?? {},
    })),
  );
}
