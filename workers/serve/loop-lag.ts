import { monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 5;

/** How late the event loop gets to its timers, ms; quantiles since the last `reset`. */
export class LoopLag {
  private readonly histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  constructor() {
    this.histogram.enable();
  }

  /** @param quantile 0 to 1. */
  quantile(quantile: number): number {
    // The histogram holds whole intervals between ticks, the wait for the tick included.
    const interval = this.histogram.percentile(Math.max(quantile * 100, 0.01)) / 1e6;
    return Math.max(0, interval - RESOLUTION_MS);
  }

  max(): number {
    return Math.max(0, this.histogram.max / 1e6 - RESOLUTION_MS);
  }

  reset(): void {
    this.histogram.reset();
  }

  stop(): void {
    this.histogram.disable();
  }
}
