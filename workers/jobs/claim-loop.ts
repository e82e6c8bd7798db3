import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ClaimLoopOptions<Job> {
  /** The next job, or null when there is none now. */
  readonly claim: () => Promise<Job | null>;
  /** Runs a job to its end; does not throw. */
  readonly run: (job: Job, claimedAtMs: number) => Promise<void>;
  readonly pollMs: number;
  /** Jobs that run at once; 1 unless told. */
  readonly lanes?: number;
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

/**
 * Takes one job after another in each lane until told to stop. Where there is none, one lane polls with jitter
 * for all, and the others claim again once it finds some.
 */
export async function claimLoop<Job>(o: ClaimLoopOptions<Job>): Promise<void> {
  const watch = new Watch(o.stop);
  await Promise.all(Array.from({ length: o.lanes ?? 1 }, () => lane(o, watch)));
}

async function lane<Job>(o: ClaimLoopOptions<Job>, watch: Watch): Promise<void> {
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
      watch.found();
      await o.run(job, claimedAt);
      continue;
    }
    const wait = o.pollMs * Math.min(2 ** failures, LONGEST_BACK_OFF) * (0.75 + o.random() / 2);
    await watch.pause(wait);
  }
}

/** Which of the lanes that have nothing to do looks out for jobs. */
class Watch {
  private readonly stop: AbortSignal;
  private isKept = false;
  /** Aborted when a job was found: the lanes that wait for one then claim again. */
  private waiting = new AbortController();

  constructor(stop: AbortSignal) {
    this.stop = stop;
  }

  found(): void {
    this.waiting.abort();
    this.waiting = new AbortController();
  }

  /** Until it is time to claim again: after so long if no other lane looks out, else when one finds something. */
  async pause(ms: number): Promise<void> {
    if (this.isKept) {
      await until(AbortSignal.any([this.waiting.signal, this.stop]));
      return;
    }
    this.isKept = true;
    await pause(ms, this.stop);
    this.isKept = false;
  }
}

async function until(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}

async function pause(ms: number, stop: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal: stop });
  } catch (error) {
    if (!stop.aborted) throw error;
  }
}
