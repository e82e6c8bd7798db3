import { removeServeWorker, reportServeWorker, type Db } from '@armature/db';
import type { LedgerLog } from './ledger.ts';
import { Turns } from './turns.ts';

export interface WorkerStatus {
  readonly id: string;
  readonly url: string;
  readonly state: 'ready' | 'draining';
  readonly sessions: number;
}

/** Tells the control plane every `intervalMs` that this worker lives, and what it can take. */
export class Heartbeat {
  private readonly db: Db;
  private readonly status: () => WorkerStatus;
  private readonly log: LedgerLog;
  private readonly timer: NodeJS.Timeout;
  private readonly turns = new Turns(() => this.report());

  constructor(db: Db, status: () => WorkerStatus, log: LedgerLog, intervalMs: number) {
    this.db = db;
    this.status = status;
    this.log = log;
    this.timer = setInterval(() => void this.beat(), intervalMs);
    this.timer.unref();
  }

  /** Reports now; resolves when it is written or has failed, which the log says. */
  beat(): Promise<void> {
    return this.turns.ask();
  }

  /** Takes the worker off the list. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.turns.idle();
    await removeServeWorker(this.db, this.status().id).catch((error: unknown) =>
      this.log.warn({ err: error }, 'the worker could not be taken off the list'),
    );
  }

  private async report(): Promise<void> {
    await reportServeWorker(this.db, this.status()).catch((error: unknown) =>
      this.log.warn({ err: error }, 'the heartbeat could not be written'),
    );
  }
}
