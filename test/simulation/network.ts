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

  constructor(clock: SimClock, random: Random, options: NetworkOptions) {
    this.clock = clock;
    this.random = random;
    this.options = options;
  }

  send(deliver: () => void): void {
    const { delayMs, jitterMs, loss, doubled, stall, stallMs } = this.options;
    if (this.random.chance(stall)) {
      this.stalledUntil = Math.max(this.stalledUntil, this.clock.now() + stallMs);
    }
    const copies = this.random.chance(loss) ? 0 : this.random.chance(doubled) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const free = Math.max(this.clock.now(), this.stalledUntil);
      const at = free + delayMs + this.random.between(0, jitterMs);
      this.clock.after(at - this.clock.now(), deliver);
    }
  }
}
