import { systemClock } from './clock.ts';
import { LoopLag } from './loop-lag.ts';
import type { ServeMetrics } from './metrics.ts';
import type { SessionLog } from './session/index.ts';

/** How late the event loop may be, ms: p99 under full load is to stay within it. */
const MAY_BE_LATE_MS = 10;
/** Between two lines in the log, ms. */
const QUIET_MS = 60_000;

export interface LagWatchOptions {
  /** Read by nobody else: reading it resets it. */
  readonly lag: Pick<LoopLag, 'max' | 'reset'>;
  /** Monotonic, ms. */
  readonly now: () => number;
  /** Told of every time between two readings in which the loop was late. */
  readonly onLate: (ms: number) => void;
  /** Told at most once a minute: the longest delay since the last time, and in how much time there was any; ms. */
  readonly onAlarm: (alarm: { readonly longestMs: number; readonly lateMs: number }) => void;
}

/** Whether the event loop gets to what waits for it in time. */
export class LagWatch {
  private readonly options: LagWatchOptions;
  private readAt: number;
  private toldAt = -Infinity;
  private longestMs = 0;
  private lateMs = 0;

  constructor(options: LagWatchOptions) {
    this.options = options;
    this.readAt = options.now();
  }

  read(): void {
    const { lag, now, onLate, onAlarm } = this.options;
    const at = now();
    const longest = lag.max();
    const took = at - this.readAt;
    lag.reset();
    this.readAt = at;
    if (longest > MAY_BE_LATE_MS) {
      onLate(took);
      this.longestMs = Math.max(this.longestMs, longest);
      this.lateMs += took;
    }
    if (this.lateMs === 0 || at - this.toldAt < QUIET_MS) return;
    onAlarm({ longestMs: this.longestMs, lateMs: this.lateMs });
    this.toldAt = at;
    this.longestMs = 0;
    this.lateMs = 0;
  }
}

/** Watches the event loop of this process: counted in its metrics, and told in its log. */
export function watchLag(
  { loopLate }: Pick<ServeMetrics, 'loopLate'>,
  log: Pick<SessionLog, 'warn'>,
): LagWatch {
  return new LagWatch({
    lag: new LoopLag(),
    now: () => systemClock.now(),
    onLate: (ms) => loopLate.inc(ms / 1000),
    onAlarm: (alarm) => log.warn(alarm, 'the event loop was late'),
  });
}
