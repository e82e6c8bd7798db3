/** A robot's clock may run ahead of ours by this share without being refused. */
const TOLERANCE = 1.1;

/** A token bucket: `rate` a second, and up to half a second's worth (four at least) at once. */
export class RateLimit {
  private readonly rate: number;
  private readonly burst: number;
  private tokens: number;
  private at: number;

  /** @param now ms. */
  constructor(rate: number, now: number) {
    this.rate = rate * TOLERANCE;
    this.burst = Math.max(4, rate / 2);
    this.tokens = this.burst;
    this.at = now;
  }

  /** Whether one more may pass at `now` (ms); if so it is counted. */
  take(now: number): boolean {
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.at) / 1000) * this.rate);
    this.at = now;
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    return true;
  }
}
