import { ArmatureError } from '../contract/index.ts';

export interface Backoff {
  /** Wait before the first repeat, ms. */
  readonly baseMs: number;
  /** Longest wait, ms. */
  readonly maxMs: number;
}

/**
 * Wait before repeat number `attempt` (0 is the first): doubled each time up to the longest, then
 * drawn between half and the whole of it, so that many clients do not come back at once.
 * @param random in [0, 1).
 */
export function backoffMs(attempt: number, backoff: Backoff, random: number): number {
  const full = Math.min(backoff.maxMs, backoff.baseMs * 2 ** attempt);
  return full * (0.5 + random / 2);
}

/**
 * Resolves after `ms`.
 * @throws ArmatureError `cancelled` as soon as the signal is aborted.
 */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(cancelled(signal));
      return;
    }
    const abort = (): void => {
      clearTimeout(timer);
      if (signal !== undefined) reject(cancelled(signal));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', abort, { once: true });
  });
}

/** The error of a call that its caller gave up. */
export function cancelled(signal: AbortSignal): ArmatureError {
  const reason: unknown = signal.reason;
  if (reason instanceof ArmatureError) return reason;
  return new ArmatureError('cancelled', 'the call was cancelled by its caller', { cause: reason });
}

/** @throws ArmatureError `cancelled` when the signal is aborted. */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw cancelled(signal);
}
