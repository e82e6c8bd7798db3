import PgBoss from 'pg-boss';
import { sql } from 'drizzle-orm';
import { withSystem, type Db, type Tx } from './connection.ts';

/** What the queue carries, by the name of its payload. Payloads hold ids and names alone. */
export interface QueuedData {
  /** One message of a webhook. */
  webhook: { tenant_id: string; delivery_id: string };
  /** One round of a sweep through all tenants. */
  sweep: { sweep: string };
}
export type QueueName = keyof QueuedData;

/** Work that this process has taken and must end within `expiresInMs`, or another takes it. */
export interface QueuedWork<Q extends QueueName = QueueName> {
  readonly id: string;
  readonly queue: Q;
  readonly data: QueuedData[Q];
  /** No more tries come after this one. */
  readonly isLast: boolean;
  readonly expiresInMs: number;
}

export interface QueueOptions {
  /** Told of failures in the background, which are tried again. */
  readonly onError: (error: unknown) => void;
  /** How often work is looked for whose worker is lost, seconds. */
  readonly superviseEveryS?: number;
}

/** Longest that ended work is kept for who looks; a throttled send is told apart for as long. */
const KEPT_S = 25 * 3600;
/** Work whose worker is lost is found this long after it expired, at the latest. */
const SUPERVISE_S = 15;

/**
 * The queue for short work that may be done twice: pg-boss over this room's own connections and roles,
 * which polls, so that it works behind a pooler in transaction mode. Its loops are not used: they leave
 * failures to write an end unhandled and hide failures to read. Long work that must not be done by two
 * at a time is a job with a lease (`jobs.ts`).
 */
export class Queue {
  private readonly boss: PgBoss;
  private readonly db: Db;

  private constructor(db: Db, boss: PgBoss) {
    this.db = db;
    this.boss = boss;
  }

  /**
   * @param db as the role armature_worker
   * @throws Error where the database has another version of the queue than this library.
   */
  static async open(db: Db, options: QueueOptions): Promise<Queue> {
    const boss = new PgBoss({
      db: executor((work) => withSystem(db, 'carry the queue', work)),
      // The schema comes with our migrations; times with `sendEvery`.
      migrate: false,
      schedule: false,
      supervise: true,
      maintenanceIntervalSeconds: options.superviseEveryS ?? SUPERVISE_S,
      archiveCompletedAfterSeconds: KEPT_S,
    });
    boss.on('error', options.onError);
    await boss.start();
    return new Queue(db, boss);
  }

  /** Takes the next work that is due, or null. @throws DatabaseError */
  async take<Q extends QueueName>(queue: Q): Promise<QueuedWork<Q> | null> {
    return withSystem(this.db, 'take the next work of the queue', async (tx) => {
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
      const [job] = await this.boss.fetch<QueuedData[Q]>(queue, { includeMetadata: true, db });
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
    });
  }

  /** Ends work in the transaction that writes what came of it, or by itself. */
  async complete(work: QueuedWork, tx?: Tx): Promise<void> {
    await this.boss.complete(work.queue, work.id, {}, within(tx));
  }

  /** Has work tried again later, as its queue says; after the last try it has failed. */
  async fail(work: QueuedWork, reason: string, tx?: Tx): Promise<void> {
    await this.boss.fail(work.queue, work.id, { reason }, within(tx));
  }

  /** Sends work once in every period, however many processes ask; false where this one has it already. */
  async sendEvery<Q extends QueueName>(
    queue: Q,
    data: QueuedData[Q],
    every: { key: string; seconds: number },
  ): Promise<boolean> {
    const { key: singletonKey, seconds: singletonSeconds } = every;
    const id = await this.boss.send(queue, data, { singletonKey, singletonSeconds });
    return id !== null;
  }

  /** Looks for work whose worker is lost, and puts away what ended long ago. */
  async supervise(): Promise<void> {
    await this.boss.maintain();
  }

  /** Ends what runs in the background; work that is taken is the caller's to end. */
  async close(): Promise<void> {
    await this.boss.stop({ graceful: false, close: false });
  }
}

type Run = <T>(work: (tx: Tx) => Promise<T>) => Promise<T>;

const within = (tx: Tx | undefined) =>
  tx === undefined ? {} : { db: executor((work) => work(tx)) };

/** How pg-boss reaches the database. */
function executor(run: Run): PgBoss.Db {
  return {
    executeSql: async (text, values) => {
      const rows = await run((tx) => tx.execute(statement(text, values)));
      return { rows: [...rows] };
    },
  };
}

/** Maintenance comes as a transaction of its own, and the one that it runs in will do. */
const OWN_TRANSACTION = /^\s*BEGIN;([\s\S]*?);\s*COMMIT;\s*$/;

/** pg-boss's text with the driver's own placeholders, and values as this driver wants them. */
function statement(text: string, values: readonly unknown[] | undefined) {
  if (values === undefined || values.length === 0) {
    return sql.raw(OWN_TRANSACTION.exec(text)?.[1] ?? text);
  }
  const pieces = text.split(/\$(\d+)/).map((piece, index) => {
    if (index % 2 === 0) return sql.raw(piece);
    const value: unknown = values[Number(piece) - 1];
    return sql`${sql.param(isJson(value) ? JSON.stringify(value) : (value ?? null))}`;
  });
  return sql.join(pieces);
}

const isJson = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
