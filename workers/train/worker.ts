import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { claimJob, connect, type ClaimedJob } from '@armature/db';
import { openStore } from '@armature/storage';
import type { Logger } from 'pino';
import { claimLoop } from '../jobs/claim-loop.ts';
import { codeVersion } from './code-version.ts';
import type { TrainConfig } from './config.ts';
import { pruneCaches } from './data/prune.ts';
import { runFinetune } from './job/run.ts';
import type { Workshop } from './job/workshop.ts';

/** Heartbeats in one lease: four may fail before it is given up. */
const BEATS_PER_LEASE = 5;
/** Heartbeats, progress lines and the job's own writes, at once. */
const CONNECTIONS = 4;

/**
 * Takes fine-tunes one after another until told to stop; the one that runs then goes back to the
 * queue with a checkpoint.
 *
 * @param onReady called once the worker can take jobs.
 */
export async function runWorker(
  config: TrainConfig,
  openWorkshop: () => Promise<Workshop>,
  log: Logger,
  onReady: () => void,
  stop: AbortSignal,
): Promise<void> {
  const cacheDir = join(config.cacheDir, 'frames');
  await mkdir(cacheDir, { recursive: true });
  const code = await codeVersion(config.buildId);
  const store = openStore(config.store);
  const nowMs = (): number => performance.now();
  const db = connect(config.databaseUrl, {
    max: CONNECTIONS,
    name: 'armature-train',
    onSystemAccess: (reason) => {
      log.debug({ reason }, 'system access');
    },
  });
  const run = async (job: ClaimedJob, claimedAtMs: number): Promise<void> => {
    const removed = await pruneCaches(cacheDir, config.cacheMaxBytes);
    if (removed.length > 0) log.info({ removed: removed.length }, 'old pictures removed');
    const services = {
      db,
      store,
      log,
      nowMs,
      openWorkshop,
      vision: config.vision,
      cacheDir,
      threads: config.engineThreads,
      beatMs: config.leaseMs / BEATS_PER_LEASE,
      checkpointEveryS: config.checkpointEveryS,
      code,
    };
    await runFinetune(job, claimedAtMs, services, stop);
  };
  try {
    onReady();
    await claimLoop<ClaimedJob>({
      claim: () =>
        claimJob(db, {
          kind: 'finetune',
          owner: config.workerId,
          leaseMs: config.leaseMs,
          tenantMax: config.tenantMaxJobs,
        }),
      run,
      pollMs: config.pollMs,
      nowMs,
      onClaimFailed: (error) => {
        log.warn({ err: error }, 'no job could be claimed');
      },
      random: Math.random,
      stop,
    });
  } finally {
    await db.close();
  }
}
