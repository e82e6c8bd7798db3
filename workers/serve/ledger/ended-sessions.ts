import { endedSessions, type Db } from '@armature/db';
import { SESSION_TOKEN_MAX_LIFE_S } from '@armature/sdk/contract';
import type { LedgerLog } from './ledger.ts';
import { Turns } from './turns.ts';

/** Added to the time since the last look, for clocks and transactions that take their time, s. */
const OVERLAP_S = 30;

export interface EndedSessionsOptions {
  readonly db: Db;
  readonly worker: string;
  readonly connected: () => readonly string[];
  /** Told of sessions that have ended, again and again. */
  readonly onEnded: (sessions: readonly string[]) => void;
  readonly log: Pick<LedgerLog, 'warn'>;
}

/**
 * Learns which sessions the control plane has ended: at first of all of whom a token may be left, then of those
 * since the last look. While the database is away nobody is held up by it.
 */
export class EndedSessions {
  private readonly options: EndedSessionsOptions;
  private lookedAt: number | undefined;
  private readonly turns = new Turns(() => this.tryOnce());

  constructor(options: EndedSessionsOptions) {
    this.options = options;
  }

  /** Looks now; resolves when it has, or when it has failed, which the log says. */
  look(): Promise<void> {
    return this.turns.ask();
  }

  private async tryOnce(): Promise<void> {
    try {
      await this.lookOnce();
    } catch (error) {
      this.options.log.warn({ err: error }, 'sessions that have ended could not be looked up');
    }
  }

  private async lookOnce(): Promise<void> {
    const { db, worker, connected, onEnded } = this.options;
    const begun = performance.now();
    const withinS =
      this.lookedAt === undefined
        ? SESSION_TOKEN_MAX_LIFE_S
        : Math.min(SESSION_TOKEN_MAX_LIFE_S, (begun - this.lookedAt) / 1000);
    onEnded(
      await endedSessions(db, worker, { connected: connected(), withinS: withinS + OVERLAP_S }),
    );
    this.lookedAt = begun;
  }
}
