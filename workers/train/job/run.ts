import { LeaseLostError, type ClaimedJob } from '@armature/db';
import type { Logger } from 'pino';
import type { Lease } from '../../jobs/lease.ts';
import { endOfAttempt, pastAttempts } from '../../jobs/past-attempts.ts';
import { CancelRequested, LeaseLost, PauseRequested, Stopping } from '../../jobs/reasons.ts';
import { runHeld } from '../../jobs/run-held.ts';
import { Checkpoints } from './checkpoints.ts';
import type { FinetuneInput } from './input.ts';
import { finetunePrefix } from './keys.ts';
import { Ledger } from './ledger.ts';
import { runPipeline } from './pipeline.ts';
import { isUserError, problemOf } from './problem.ts';
import type { JobServices } from './services.ts';

/** With so many failures of our own it has failed. */
const MOST_FAILURES = 5;
/** A job that lost so many workers kills them. */
const MOST_LOST = 20;
/** Wait before another attempt, for each failure so far. */
const RETRY_MS = 5_000;

/**
 * Runs one claimed fine-tune to whatever end it comes to and settles it. Never throws: what cannot
 * be settled is logged and left to the end of the lease.
 *
 * @param claimedAtMs when the claim was asked for, by `services.nowMs`.
 * @param stop aborts when the process is to end: the job saves a checkpoint and goes back to the
 *   queue, where another worker finds it at once.
 */
export async function runFinetune(
  job: ClaimedJob,
  claimedAtMs: number,
  services: JobServices,
  stop: AbortSignal,
): Promise<void> {
  const log = services.log.child({ job: job.id, finetune: job.subjectId, attempt: job.attempt });
  const ledger = new Ledger(services.db, job, () => services.nowMs() - claimedAtMs);
  const running: Running = { job, services, ledger, log, placed: { prefix: null } };
  log.info('fine-tune starts');
  await runHeld({
    job,
    claimedAtMs,
    db: services.db,
    beatMs: services.beatMs,
    nowMs: services.nowMs,
    log,
    stop,
    work: (lease) => attemptOnce(running, lease),
    conclude: (reason) => conclude(reason, running),
  });
}

interface Running {
  readonly job: ClaimedJob;
  readonly services: JobServices;
  readonly ledger: Ledger;
  readonly log: Logger;
  /** Where objects of its version may lie. */
  readonly placed: { prefix: string | null };
}

async function attemptOnce(running: Running, lease: Lease): Promise<void> {
  const { job, services, ledger, log, placed } = running;
  if (job.cancelRequested) throw new CancelRequested();
  const { lost } = await pastAttempts(services.db, job);
  if (lost >= MOST_LOST) throw new Error(`the job lost ${lost} workers`);
  lease.assertHeld();
  const input: FinetuneInput = await ledger.input();
  const checkpoints = new Checkpoints(services.store, ledger, input, job);
  await runPipeline({
    job,
    input,
    services,
    ledger,
    lease,
    checkpoints,
    log,
    onPlacing: (prefix) => {
      placed.prefix = prefix;
    },
  });
  try {
    await checkpoints.removeAll();
  } catch (error) {
    log.warn({ err: error }, 'checkpoints of a finished fine-tune were not removed');
  }
}

async function conclude(reason: unknown, running: Running): Promise<void> {
  const { job, services, ledger, log } = running;
  if (reason instanceof LeaseLost || reason instanceof LeaseLostError) {
    log.warn({ err: reason }, 'stopped without a trace: another worker has the job');
    return;
  }
  await removeUnregistered(running);
  if (reason instanceof Stopping) {
    log.info('given back: this worker stops');
    await ledger.release(0, {
      kind: 'message',
      message: 'the worker stops; the job is queued again',
      data: endOfAttempt(job, 'given back'),
    });
    return;
  }
  if (reason instanceof PauseRequested) {
    try {
      await ledger.paused();
      log.info('paused');
      return;
    } catch (error) {
      if (!(error instanceof CancelRequested)) throw error;
      await conclude(error, running);
      return;
    }
  }
  const removeCheckpoints = (): Promise<number> =>
    services.store.deletePrefix(finetunePrefix(job.tenantId, job.subjectId));
  if (reason instanceof CancelRequested) {
    log.info('cancelled');
    await removeCheckpoints();
    await ledger.cancelled();
    return;
  }
  if (isUserError(reason)) {
    log.warn({ err: reason }, 'the fine-tune ended for what the tenant can mend');
    await removeCheckpoints();
    await ledger.userError(problemOf(reason));
    return;
  }
  const past = await pastAttempts(services.db, job);
  const failures = past.failed + 1;
  if (failures >= MOST_FAILURES || past.lost >= MOST_LOST) {
    log.warn({ err: reason }, 'the fine-tune failed');
    await ledger.fail(problemOf(reason));
    return;
  }
  log.error({ err: reason }, 'the attempt failed; another follows');
  await ledger.release(RETRY_MS * failures, {
    kind: 'warning',
    message: `attempt ${job.attempt} failed inside the platform; another follows`,
    data: endOfAttempt(job, 'failed'),
  });
}

/** Takes away the objects of a version that was put but never registered. */
async function removeUnregistered({
  services,
  ledger,
  placed: { prefix },
}: Running): Promise<void> {
  if (prefix === null) return;
  await ledger.unlessRegistered(prefix, () => services.store.deletePrefix(prefix));
}
