/** Samples that count. */
const WINDOW = 64;

/**
 * Latencies of late, for planning. The first sample (a cold path) is left out, old ones are
 * forgotten: one slow answer does not stretch the plan for good.
 */
export class LatencyWindow {
  private readonly samples: number[] = [];
  private warm = false;

  add(ms: number): void {
    if (!this.warm) {
      this.warm = true;
      return;
    }
    this.samples.push(ms);
    if (this.samples.length > WINDOW) this.samples.shift();
  }

  /** The quantile (nearest rank) in ms; undefined before the second sample. @param q in (0, 1]. */
  quantile(q: number): number | undefined {
    return quantile(this.samples, q);
  }
}

/** Quantile by nearest rank, undefined of nothing. @param q in (0, 1]. */
export function quantile(samples: readonly number[], q: number): number | undefined {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
}

/** Every latency of a session in bounded memory: exact up to 4,096 samples, then the latest. */
export class LatencyRecord {
  private readonly ring: number[] = [];
  private total = 0;

  add(ms: number): void {
    this.ring[this.total % 4096] = ms;
    this.total += 1;
  }

  get count(): number {
    return this.total;
  }

  quantile(q: number): number | null {
    return quantile(this.ring, q) ?? null;
  }

  samples(): number[] {
    return [...this.ring];
  }
}
