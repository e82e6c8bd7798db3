import type { Random } from './random.ts';
import type { SimClock } from './sim-clock.ts';

export interface NetworkOptions {
  /** Time on the way without anything going wrong, ms. */
  readonly delayMs: number;
  /** Random addition to it, ms: what reorders. */
  readonly jitterMs: number;
  /** Shares of frames that are lost and doubled, 0 to 1. */
  readonly loss: number;
  readonly doubled: number;
  /** Share of frames that begin a stall, and its length in ms. */
  readonly stall: number;
  readonly stallMs: number;
}

/** One direction of a link. */
export class Network {
  private readonly clock: SimClock;
  private readonly random: Random;
  private readonly options: NetworkOptions;
  private stalledUntil = 0;
  private lastInOrder = 0;

  constructor(clock: SimClock, random: Random, options: NetworkOptions) {
    this.clock = clock;
    this.random = random;
    this.options = options;
  }

  /**
   * Loses, doubles, delays and reorders, which is worse than what TCP lets happen.
   * @returns how many copies will arrive.
   */
  send(deliver: () => void): number {
    const { loss, doubled } = this.options;
    this.maybeStall();
    const copies = this.random.chance(loss) ? 0 : this.random.chance(doubled) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      this.clock.after(this.arrival() - this.clock.now(), deliver);
    }
    return copies;
  }

  /** As TCP does it: late at worst, once, and in the order of sending. */
  sendInOrder(deliver: () => void): void {
    this.maybeStall();
    this.lastInOrder = Math.max(this.lastInOrder, this.arrival());
    this.clock.after(this.lastInOrder - this.clock.now(), deliver);
  }

  private maybeStall(): void {
    const { stall, stallMs } = this.options;
    if (!this.random.chance(stall)) return;
    this.stalledUntil = Math.max(this.stalledUntil, this.clock.now() + stallMs);
  }

  private arrival(): number {
    const { delayMs, jitterMs } = this.options;
    const free = Math.max(this.clock.now(), this.stalledUntil);
    return free + delayMs + this.random.between(0, jitterMs);
  }
}
