/** The two clocks of this process. */
export interface Clock {
  /** Monotonic, ms: for durations and deadlines. */
  now(): number;
  /** ms since the Unix epoch: for stamps and expiry. */
  wall(): number;
}

export const systemClock: Clock = { now: () => performance.now(), wall: () => Date.now() };
