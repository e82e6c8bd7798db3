import { CancelRequested, LeaseLost, PauseRequested, type Stopping } from './reasons.ts';

export interface LeaseOptions {
  /** Extends the lease in the database, or tells why the work is to stop. */
  readonly beat: () => Promise<'ok' | 'lost' | 'cancel' | 'pause'>;
  /** When the lease was taken, by `now`. */
  readonly takenAt: number;
  /** Length of the lease from the moment that the database extended it, milliseconds. */
  readonly leaseMs: number;
  /** Time between beats, well below `leaseMs`. */
  readonly everyMs: number;
  /** A monotonic clock, milliseconds. */
  readonly now: () => number;
  /** A beat that could not be asked; the next one may succeed. */
  readonly onBeatFailed: (error: unknown) => void;
}

/** Share of the lease after which the holder gives it up by its own clock. */
const OWN_SHARE = 0.8;

/**
 * Keeps a job's lease alive and aborts `signal` when it must end: with `LeaseLost` when another
 * worker holds it or the database has not extended it for 80 % of its length (the handler stops
 * before a successor can start), with `CancelRequested` or `PauseRequested`, or with what `abort` is given. Beats go on
 * after a cancellation, so that cleaning up is still covered.
 */
export class Lease {
  readonly signal: AbortSignal;
  private readonly controller = new AbortController();
  private readonly options: LeaseOptions;
  private heldUntil: number;
  private nextBeat: NodeJS.Timeout | undefined;
  private watchdog: NodeJS.Timeout | undefined;
  private ended = false;

  constructor(options: LeaseOptions) {
    this.options = options;
    this.signal = this.controller.signal;
    this.heldUntil = options.takenAt + options.leaseMs * OWN_SHARE;
    this.schedule(options.everyMs);
    this.watch();
  }

  /** @throws LeaseLost when the lease has run out by the own clock, or the reason of an abort. */
  assertHeld(): void {
    this.giveUpWhenDue();
    this.signal.throwIfAborted();
  }

  abort(reason: Stopping | CancelRequested): void {
    this.controller.abort(reason);
  }

  /** Ends the beats; the row is the caller's to settle. */
  stop(): void {
    this.ended = true;
    clearTimeout(this.nextBeat);
    clearTimeout(this.watchdog);
  }

  private schedule(afterMs: number): void {
    if (this.ended) return;
    this.nextBeat = setTimeout(() => void this.beat(), afterMs);
  }

  private async beat(): Promise<void> {
    const { beat, everyMs, leaseMs, now, onBeatFailed } = this.options;
    const asked = now();
    try {
      const answer = await beat();
      if (this.ended) return;
      if (answer === 'lost') {
        this.lose('another worker holds it');
        return;
      }
      // Counted from the asking: the database extended it later than that, never earlier.
      this.heldUntil = asked + leaseMs * OWN_SHARE;
      this.watch();
      if (answer === 'cancel') this.controller.abort(new CancelRequested());
      if (answer === 'pause') this.controller.abort(new PauseRequested());
    } catch (error) {
      onBeatFailed(error);
    }
    this.schedule(everyMs);
  }

  private watch(): void {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(
      () => {
        this.giveUpWhenDue();
      },
      Math.max(0, this.heldUntil - this.options.now()),
    );
  }

  private giveUpWhenDue(): void {
    if (!this.ended && this.options.now() >= this.heldUntil) {
      this.lose('it could not be extended in time');
    }
  }

  private lose(how: string): void {
    this.stop();
    this.controller.abort(new LeaseLost(how));
  }
}
