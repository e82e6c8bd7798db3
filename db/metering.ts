import { sql } from 'drizzle-orm';
import { inOneStatement, type Db, type Tx } from './connection.ts';
import { trainingUsage, type PolicyFault } from './schema.ts';
import { lockUsage, usageClosedUntil } from './usage-windows.ts';

/** A chunk that was served; `at` is ISO 8601. */
export interface UsageRecord {
  readonly kind: 'usage';
  readonly id: string;
  readonly session_id: string;
  readonly policy_version_id: string;
  readonly reasoning_id: string | null;
  readonly actions: number;
  readonly reasoning_tokens: number;
  readonly compute_us: number;
  /** How far the robot was from where the chunk before had it go, in shares of the joints' ranges. */
  readonly deviation?: number | undefined;
  readonly at: string;
}

/** A reasoning that a robot was told of; `created_at` is ISO 8601. */
export interface ReasoningRecord {
  readonly kind: 'reasoning';
  readonly id: string;
  readonly session_id: string;
  readonly text: string;
  readonly source: string;
  readonly tokens: number;
  readonly created_at: string;
}

/** What a policy version did wrong; `at` is ISO 8601. */
export interface FaultRecord {
  readonly kind: 'fault';
  readonly id: string;
  readonly session_id: string;
  readonly policy_version_id: string;
  readonly fault: PolicyFault;
  readonly message: string;
  readonly at: string;
}

export type WorkerRecord = UsageRecord | ReasoningRecord | FaultRecord;

/**
 * Writes a worker's records of one tenant, all or none, in one statement, and counts chunks and faults in their
 * versions' windows. Ids are derived from session, epoch and number, so that a batch that is written again
 * changes nothing. @throws DatabaseError
 */
export async function writeRecords(
  db: Db,
  tenantId: string,
  records: readonly WorkerRecord[],
): Promise<void> {
  if (tenantId === '') throw new Error('records need a tenant');
  await inOneStatement(db, (orm) =>
    orm.execute(sql`select armature_write_records(${tenantId}, ${JSON.stringify(records)}::jsonb)`),
  );
}

export type TrainingUsageRow = Omit<typeof trainingUsage.$inferInsert, 'at' | 'windowAt'>;

/** Writes what an attempt of a fine-tune took until now, once however often it is written. */
export async function writeTrainingUsage(tx: Tx, row: TrainingUsageRow): Promise<void> {
  const [clock] = await tx.execute<{ ms: number }>(
    sql`select extract(epoch from now())::float8 * 1000 as ms`,
  );
  if (clock === undefined) throw new Error('now() gave no row');
  const at = new Date(clock.ms);
  await lockUsage(tx, 'write');
  const closed = (await usageClosedUntil(tx, row.tenantId)) ?? at;
  // What comes after its window was closed counts in the first that is open.
  const windowAt = closed > at ? closed : at;
  await tx
    .insert(trainingUsage)
    .values({ ...row, at, windowAt })
    .onConflictDoNothing();
}
