import { heartbeat, type ClaimedJob, type Db } from '@armature/db';
import type { Logger } from 'pino';
import { Lease } from './lease.ts';
import { reasonOf, Stopping } from './reasons.ts';

export interface HeldJob {
  readonly job: ClaimedJob;
  /** When the claim was asked for, by `nowMs`. */
  readonly claimedAtMs: number;
  readonly db: Db;
  /** Time between two heartbeats, well below the lease, ms. */
  readonly beatMs: number;
  /** A monotonic clock, ms. */
  readonly nowMs: () => number;
  readonly log: Logger;
  /** Aborts when the process is to end: the work is aborted with `Stopping`. */
  readonly stop: AbortSignal;
  /** Does the job and settles it. */
  readonly work: (lease: Lease) => Promise<void>;
  /** Settles a job whose work did not come to its end. */
  readonly conclude: (reason: unknown) => Promise<void>;
}

/**
 * Runs one claimed job under its lease. Never throws: what cannot be settled is logged and left to
 * the end of the lease.
 */
export async function runHeld(o: HeldJob): Promise<void> {
  const lease = new Lease({
    beat: () => heartbeat(o.db, o.job),
    takenAt: o.claimedAtMs,
    leaseMs: o.job.leaseMs,
    everyMs: o.beatMs,
    now: o.nowMs,
    onBeatFailed: (error) => {
      o.log.warn({ err: error }, 'a heartbeat failed');
    },
  });
  const onStop = (): void => {
    lease.abort(new Stopping());
  };
  o.stop.addEventListener('abort', onStop);
  if (o.stop.aborted) onStop();
  try {
    await o.work(lease);
  } catch (error) {
    // An aborted part fails in its own words; why it was aborted is what counts.
    const reason = lease.signal.aborted ? reasonOf(lease.signal) : error;
    try {
      await o.conclude(reason);
    } catch (failure) {
      o.log.error({ err: failure }, 'the job could not be settled; its lease runs out');
    }
  } finally {
    o.stop.removeEventListener('abort', onStop);
    lease.stop();
  }
}
