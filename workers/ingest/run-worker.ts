import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { claimJob, connect } from '@armature/db';
import { openStore } from '@armature/storage';
import pino from 'pino';
import { claimLoop } from '../jobs/claim-loop.ts';
import { stopSignal } from '../jobs/stop-signal.ts';
import type { IngestConfig } from './config.ts';
import { type IngestServices, runIngest } from './job.ts';

/** Heartbeats in one lease: four may fail before it is given up. */
const BEATS_PER_LEASE = 5;

/**
 * Validates data sets until the process is told to stop; a line on standard output says that it looks for them.
 * @param more in place of what the worker goes by itself
 */
export async function runWorker(
  config: IngestConfig,
  more: Pick<IngestServices, 'checker'> = {},
): Promise<void> {
  const log = pino({ level: config.logLevel, name: 'ingest' }, pino.destination(2));
  const db = connect(config.databaseUrl, {
    max: 3,
    name: 'armature-ingest',
    onSystemAccess: (reason) => log.debug({ reason }, 'system access'),
  });
  const store = openStore(config.store);
  const scratch = join(config.cacheDir, 'ingest', encodeURIComponent(config.workerId));
  await rm(scratch, { recursive: true, force: true });
  await mkdir(scratch, { recursive: true });

  const stop = stopSignal((signal) => log.info({ signal }, 'stopping'));

  const nowMs = (): number => performance.now();
  const running = claimLoop({
    claim: () =>
      claimJob(db, {
        kind: 'ingest',
        owner: config.workerId,
        leaseMs: config.leaseMs,
        tenantMax: config.tenantMaxJobs,
      }),
    run: (job, claimedAtMs) =>
      runIngest(
        job,
        claimedAtMs,
        {
          db,
          store,
          scratch,
          lanes: config.lanes,
          memoryMib: config.memoryMib,
          beatMs: config.leaseMs / BEATS_PER_LEASE,
          nowMs,
          log,
          ...more,
        },
        stop,
      ),
    pollMs: config.pollMs,
    nowMs,
    random: Math.random,
    onClaimFailed: (error) => log.warn({ err: error }, 'no job could be claimed'),
    stop,
  });
  process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
  log.info({ worker: config.workerId }, 'waiting for data sets');
  await running;
  await db.close();
  log.info('stopped');
}
