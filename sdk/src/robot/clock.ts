import { sleep } from '../backoff.ts';

/** Time as the control loop sees it; tests put a virtual one in its place. */
export interface Clock {
  /** ms on a clock that only goes forward. */
  now(): number;
  /** Resolves after `ms`; rejects when the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const realClock: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, signal),
};

/** Resolves at `at` or at once when that is past; early timers are waited out. */
export async function sleepUntil(clock: Clock, at: number, signal: AbortSignal): Promise<void> {
  for (let left = at - clock.now(); left > 0; left = at - clock.now()) {
    await clock.sleep(left, signal);
  }
}
