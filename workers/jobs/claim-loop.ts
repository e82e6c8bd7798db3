import { setTimeout as sleep } from 'node:timers/promises';

export interface ClaimLoopOptions<Job> {
  /** The next job, or null when there is none now. */
  readonly claim: () => Promise<Job | null>;
  /** Runs a job to its end; does not throw. */
  readonly run: (job: Job, claimedAtMs: number) => Promise<void>;
  readonly pollMs: number;
  /** A monotonic clock, milliseconds. */
  readonly nowMs: () => number;
  readonly onClaimFailed: (error: unknown) => void;
  /** A number in [0, 1): spreads the polls of many workers. */
  readonly random: () => number;
  /** Ends the loop after the job that runs. */
  readonly stop: AbortSignal;
}

/** Longest wait after claims that failed, in polls. */
const LONGEST_BACK_OFF = 30;

/** Takes one job after another until told to stop; polls with jitter when there is none. */
export async function claimLoop<Job>(o: ClaimLoopOptions<Job>): Promise<void> {
  let failures = 0;
  while (!o.stop.aborted) {
    const claimedAt = o.nowMs();
    let job: Job | null = null;
    try {
      job = await o.claim();
      failures = 0;
    } catch (error) {
      failures += 1;
      o.onClaimFailed(error);
    }
    if (job !== null) {
      await o.run(job, claimedAt);
      continue;
    }
    const wait = o.pollMs * Math.min(2 ** failures, LONGEST_BACK_OFF) * (0.75 + o.random() / 2);
    await pause(wait, o.stop);
  }
}

async function pause(ms: number, stop: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal: stop });
  } catch (error) {
    if (!stop.aborted) throw error;
  }
}
