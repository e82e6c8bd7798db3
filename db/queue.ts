import PgBoss from 'pg-boss';
import { withSystem, type Db, type Tx } from './connection.ts';
import { executor } from './queue-sql.ts';
import {
  takeWork,
  within,
  type QueuedData,
  type QueuedWork,
  type ShortQueue,
} from './queued-work.ts';
import { workDue } from './work-due.ts';

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
 * at a time is a job with a lease, which the queue carries to its claim (`jobs.ts`).
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
  async take<Q extends ShortQueue>(queue: Q): Promise<QueuedWork<Q> | null> {
    if (!(await workDue(this.db, queue))) return null;
    return withSystem(this.db, 'take the next work of the queue', (tx) => takeWork(tx, queue));
  }

  /** Ends work in the transaction that writes what came of it, or by itself. */
  async complete(work: QueuedWork, tx?: Tx): Promise<void> {
    await this.boss.complete(work.queue, work.id, {}, tx === undefined ? {} : within(tx));
  }

  /** Has work tried again later, as its queue says; after the last try it has failed. */
  async fail(work: QueuedWork, reason: string, tx?: Tx): Promise<void> {
    await this.boss.fail(work.queue, work.id, { reason }, tx === undefined ? {} : within(tx));
  }

  /** Sends work once in every period, however many processes ask; false where this one has it already. */
  async sendEvery<Q extends ShortQueue>(
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
