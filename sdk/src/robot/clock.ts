import { sleep } from '../backoff.ts';

/** Time as the control loop sees it; tests put a virtual one in its place. */
export interface Clock {
  /** ms on a clock that only goes forward. */
  now(): number;
  /** Resolves after `ms`; rejects when the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Calls back after `ms` unless the function that is returned is called before. */
  after(ms: number, call: () => void): () => void;
}

/** A system clock that gains more than this between two looks was set forward, or the machine slept, ms. */
const LEAP_MS = 500;

/**
 * A clock that only goes forward and counts the time that the machine was suspended, which monotonic
 * clocks leave out on Linux and macOS: what the system's clock gains beyond them in a leap is added.
 * @param monotonic ms
 * @param wall ms since the Unix epoch; may be set at any time
 */
export function wakefulClock(monotonic: () => number, wall: () => number): () => number {
  let slept = 0;
  let before = wall() - monotonic();
  return () => {
    const now = monotonic();
    const difference = wall() - now;
    if (difference - before > LEAP_MS) slept += difference - before;
    before = difference;
    return now + slept;
  };
}

export const realClock: Clock = {
  now: wakefulClock(
    () => performance.now(),
    () => Date.now(),
  ),
  sleep: (ms, signal) => sleep(ms, signal),
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};

/** Resolves at `at` or at once when that is past; early timers are waited out. */
export async function sleepUntil(clock: Clock, at: number, signal: AbortSignal): Promise<void> {
  for (let left = at - clock.now(); left > 0; left = at - clock.now()) {
    await clock.sleep(left, signal);
  }
}
