import type { Dropped } from './connection.ts';
import { LatencyRecord } from './latency.ts';

/** What a session has counted since it was opened. */
export interface RobotStats {
  readonly chunks: number;
  /** Steps of all chunks that were received and accepted. */
  readonly actionsReceived: number;
  readonly actionsExecuted: number;
  /** Of these, those that the embodiment's velocities or accelerations changed where two chunks met. */
  readonly actionsLimited: number;
  /** Steps that these limits refused: what was left of their chunk was dropped. */
  readonly actionsRefused: number;
  /** Control ticks without an action to execute, after the first chunk. */
  readonly starvedTicks: number;
  /** Control ticks that passed while an action was still being executed. */
  readonly overrunTicks: number;
  /** Chunks and frames that arrived and were not used. */
  readonly dropped: Readonly<Record<Dropped, number>>;
  /**
   * Chunks whose steps were all past, or whose observation was too old, when they came; and those whose
   * rest became too old to be executed.
   */
  readonly staleChunks: number;
  /** Observations that were not sent because the robot had hardly moved. */
  readonly similarSkipped: number;
  /** Requests that ended in an error. */
  readonly errors: number;
  readonly reconnects: number;
  readonly refreshes: number;
  /** Observation sent to chunk received, ms. */
  readonly latency: {
    readonly count: number;
    readonly p50: number | null;
    readonly p99: number | null;
  };
}

/** The counters behind `RobotStats`. */
export class StatsCounter {
  chunks = 0;
  actionsReceived = 0;
  actionsExecuted = 0;
  actionsLimited = 0;
  actionsRefused = 0;
  starvedTicks = 0;
  overrunTicks = 0;
  staleChunks = 0;
  similarSkipped = 0;
  errors = 0;
  reconnects = 0;
  refreshes = 0;
  readonly dropped: Record<Dropped, number> = { late: 0, duplicate: 0, foreign: 0, invalid: 0 };
  readonly latency = new LatencyRecord();

  snapshot(): RobotStats {
    return {
      chunks: this.chunks,
      actionsReceived: this.actionsReceived,
      actionsExecuted: this.actionsExecuted,
      actionsLimited: this.actionsLimited,
      actionsRefused: this.actionsRefused,
      starvedTicks: this.starvedTicks,
      overrunTicks: this.overrunTicks,
      dropped: { ...this.dropped },
      staleChunks: this.staleChunks,
      similarSkipped: this.similarSkipped,
      errors: this.errors,
      reconnects: this.reconnects,
      refreshes: this.refreshes,
      latency: {
        count: this.latency.count,
        p50: this.latency.quantile(0.5),
        p99: this.latency.quantile(0.99),
      },
    };
  }
}
