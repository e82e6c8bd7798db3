/** The two clocks of this process. */
export interface Clock {
  /** Monotonic, ms: for durations and deadlines. */
  now(): number;
  /** ms since the Unix epoch: for stamps and expiry. */
  wall(): number;
}

export const systemClock: Clock = { now: () => performance.now(), wall: () => Date.now() };

/** Calls back after `ms`, unless the function that is returned is called before. */
export type Timer = (ms: number, call: () => void) => () => void;

/** Does not keep the process alive. */
export const systemTimer: Timer = (ms, call) => {
  const timer = setTimeout(call, ms);
  timer.unref();
  return () => clearTimeout(timer);
};
