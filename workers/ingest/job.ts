import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type ClaimedJob, type Db, LeaseLostError } from '@armature/db';
import { failedReport, isUsable, withFault } from '@armature/datasets';
import { ArmatureError, type DatasetReport, derivedPrefix } from '@armature/sdk/contract';
import type { ObjectStore } from '@armature/storage';
import type { Logger } from 'pino';
import type { Lease } from '../jobs/lease.ts';
import { endOfAttempt, pastAttempts } from '../jobs/past-attempts.ts';
import { CancelRequested, LeaseLost, Stopping } from '../jobs/reasons.ts';
import { runHeld } from '../jobs/run-held.ts';
import { checkInProcess } from './check-in-process.ts';
import { storeDerived } from './derived.ts';
import { Ledger } from './ledger.ts';
import { DERIVED } from './protocol.ts';
import { verifiedSource } from './verified-source.ts';

/** A set that lost so many workers is not taken again at once when it loses another. */
const MOST_LOST = 5;
/** Wait before another attempt; twice as long with each failure or lost worker … */
const RETRY_MS = 2_000;
/** … up to this. */
const LONGEST_RETRY_MS = 3_600_000;
/** Time between two writes of the progress. */
const PROGRESS_EVERY_MS = 1_000;

export interface IngestServices {
  readonly db: Db;
  readonly store: ObjectStore;
  /** Folder for copies of files; what a job leaves in it goes with the job. */
  readonly scratch: string;
  readonly lanes: number;
  /** Resident memory that the process that checks a set may take, MiB. */
  readonly memoryMib: number;
  /** Entry of that process; the sources' own if absent. */
  readonly checker?: string;
  readonly beatMs: number;
  /** A monotonic clock, milliseconds. */
  readonly nowMs: () => number;
  readonly log: Logger;
}

/**
 * Validates one claimed data set to whatever end it comes to and settles its job. Never throws: what
 * cannot be settled is logged and left to the end of the lease.
 *
 * @param claimedAtMs when the claim was asked for, by `services.nowMs`.
 * @param stop aborts when the process is to end: the job goes back to the queue.
 */
export async function runIngest(
  job: ClaimedJob,
  claimedAtMs: number,
  services: IngestServices,
  stop: AbortSignal,
): Promise<void> {
  const log = services.log.child({ job: job.id, dataset: job.subjectId, attempt: job.attempt });
  const ledger = new Ledger(services.db, job);
  await runHeld({
    job,
    claimedAtMs,
    db: services.db,
    beatMs: services.beatMs,
    nowMs: services.nowMs,
    log,
    stop,
    work: (lease) => validate(job, services, ledger, lease, log),
    conclude: (reason) => conclude(reason, job, services.db, ledger, log),
  });
}

async function validate(
  job: ClaimedJob,
  services: IngestServices,
  ledger: Ledger,
  lease: Lease,
  log: Logger,
): Promise<void> {
  if (job.cancelRequested) throw new CancelRequested();
  const { lost, lastLost } = await pastAttempts(services.db, job);
  if (lastLost && lost >= MOST_LOST) throw new Error(`the validation lost ${lost} workers`);
  const scratch = join(services.scratch, job.id);
  await rm(scratch, { recursive: true, force: true });
  try {
    lease.assertHeld();
    const input = await ledger.input();
    await ledger.start();
    log.info({ files: input.files.length }, 'validation starts');
    const source = verifiedSource(services.store, input.prefix, input.files, {
      scratch,
      lanes: services.lanes,
    });
    const progress = progressReport(ledger, log, services.nowMs);
    let result: DatasetReport;
    try {
      await mkdir(scratch, { recursive: true });
      result = await checkInProcess({
        source,
        files: input.files,
        spec: input.spec,
        without: input.without,
        lanes: services.lanes,
        memoryMib: services.memoryMib,
        checker: services.checker,
        scratch,
        signal: lease.signal,
        onProgress: progress.advance,
      });
    } finally {
      await progress.settled();
    }
    try {
      await source.verifyRest(lease.signal);
    } catch (error) {
      result = withFault(result, error);
    }
    await storeDerived(services.store, derivedPrefix(input.prefix), join(scratch, DERIVED), () =>
      lease.assertHeld(),
    );
    lease.assertHeld();
    const status = isUsable(result) ? 'ready' : 'rejected';
    await ledger.finish(result, status);
    log.info({ status, ...result.ingest, findings: result.findings.length }, 'validated');
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** However often the platform fails, the set is not rejected for it: it stays to be tried again. */
async function conclude(
  reason: unknown,
  job: ClaimedJob,
  db: Db,
  ledger: Ledger,
  log: Logger,
): Promise<void> {
  if (reason instanceof LeaseLost || reason instanceof LeaseLostError) {
    log.warn({ err: reason }, 'stopped without a trace: another worker has the job');
  } else if (reason instanceof Stopping) {
    log.info('given back: this worker stops');
    await ledger.release(0, {
      kind: 'message',
      message: 'the worker stops; the validation is queued again',
      data: endOfAttempt(job, 'given back'),
    });
  } else if (reason instanceof CancelRequested) {
    log.info('cancelled');
    const error = new ArmatureError('cancelled', 'the validation was cancelled', {
      fix: 'Complete the upload again to validate the data set.',
    });
    await ledger.finish(failedReport(error), 'rejected', { status: 'cancelled' });
  } else {
    log.error({ err: reason }, 'the attempt failed; another follows');
    const { failed, lost } = await pastAttempts(db, job);
    await ledger.release(Math.min(RETRY_MS * 2 ** (failed + lost), LONGEST_RETRY_MS), {
      kind: 'warning',
      message: `attempt ${job.attempt} failed inside the platform, not because of the set; another follows`,
      data: endOfAttempt(job, 'failed'),
    });
  }
}

/** Writes the progress now and then, one write at a time. */
function progressReport(
  ledger: Ledger,
  log: Logger,
  nowMs: () => number,
): { advance: (fraction: number) => void; settled: () => Promise<void> } {
  let last = nowMs();
  let writing: Promise<void> | null = null;
  return {
    advance(fraction) {
      if (writing !== null || nowMs() - last < PROGRESS_EVERY_MS) return;
      last = nowMs();
      writing = ledger.progress(fraction).then(
        () => {
          writing = null;
        },
        (error: unknown) => {
          writing = null;
          // A lost lease shows at the next heartbeat; a database that is away may come back.
          log.warn({ err: error }, 'the progress was not written');
        },
      );
    },
    async settled() {
      await writing;
    },
  };
}
