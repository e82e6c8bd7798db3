import PgBoss from 'pg-boss';
import type { Tx } from './connection.ts';
import { executor } from './queue-sql.ts';
import type { JobKind } from './schema.ts';

/** What the queue carries, by the name of its payload. Payloads hold ids and names alone. */
export interface QueuedData {
  /** One message of a webhook. */
  webhook: { tenant_id: string; delivery_id: string };
  /** One round of a sweep through all tenants. */
  sweep: { sweep: string };
  /** A job that waits to be claimed. */
  ingest: CarriedJob;
  finetune: CarriedJob;
}
export interface CarriedJob {
  tenant_id: string;
  job_id: string;
}
export type QueueName = keyof QueuedData;
/** Queues of work that its worker does in one go; what the others carry goes on under a lease. */
export type ShortQueue = Exclude<QueueName, JobKind>;

/** Work that this process has taken and must end within `expiresInMs`, or another takes it. */
export interface QueuedWork<Q extends QueueName = QueueName> {
  readonly id: string;
  readonly queue: Q;
  readonly data: QueuedData[Q];
  /** No more tries come after this one. */
  readonly isLast: boolean;
  readonly expiresInMs: number;
}

/** Says what pg-boss is to carry out; it reaches the database through the transaction that it is given. */
const statements = new PgBoss({
  db: executor(() => Promise.reject(new Error('work is taken and ended within a transaction'))),
  migrate: false,
  schedule: false,
  supervise: false,
});

/**
 * Takes the next work that is due, or null, for the rest of the transaction and, once that is committed,
 * until the work expires; as armature_system. @throws DatabaseError
 */
export async function takeWork<Q extends QueueName>(
  tx: Tx,
  queue: Q,
): Promise<QueuedWork<Q> | null> {
  // pg-boss takes a failure for an empty queue.
  const failures: unknown[] = [];
  const db = executor(async (work) => {
    try {
      return await work(tx);
    } catch (error) {
      failures.push(error);
      throw error;
    }
  });
  const [job] = await statements.fetch<QueuedData[Q]>(queue, { includeMetadata: true, db });
  if (failures.length > 0) throw failures[0];
  if (job === undefined) return null;
  return {
    id: job.id,
    queue,
    data: job.data,
    isLast: job.retryCount >= job.retryLimit,
    // Numeric, which this driver reads as text.
    expiresInMs: Number(String(job.expireInSeconds)) * 1000,
  };
}

/** Ends work that was taken, within the transaction. */
export async function endWork(tx: Tx, work: QueuedWork): Promise<void> {
  await statements.complete(work.queue, work.id, {}, within(tx));
}

/** pg-boss's option to act within a transaction. */
export const within = (tx: Tx): { db: PgBoss.Db } => ({ db: executor((work) => work(tx)) });
