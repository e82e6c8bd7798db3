import { claimJob, connect } from '@armature/db';
import pino from 'pino';
import { claimLoop } from '../jobs/claim-loop.ts';
import { readConfig } from './config.ts';
import { runDelivery } from './job.ts';

/** Heartbeats in one lease: four may fail before it is given up. */
const BEATS_PER_LEASE = 5;

const config = readConfig();
const log = pino({ level: config.LOG_LEVEL, name: 'webhooks' }, pino.destination(2));
const db = connect(config.DATABASE_URL, {
  max: config.WEBHOOK_LANES + 1,
  name: 'armature-webhooks',
  onSystemAccess: (reason) => log.debug({ reason }, 'system access'),
});

const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (stop.signal.aborted) process.exit(1);
    log.info({ signal }, 'stopping');
    stop.abort();
  });
}

const nowMs = (): number => performance.now();
const services = {
  db,
  log,
  nowMs,
  clock: () => new Date(),
  beatMs: config.LEASE_MS / BEATS_PER_LEASE,
  timeoutMs: config.WEBHOOK_TIMEOUT_MS,
  allowLoopback: config.WEBHOOK_ALLOW_LOOPBACK === 'true',
};
const lanes = Array.from({ length: config.WEBHOOK_LANES }, () =>
  claimLoop({
    claim: () =>
      claimJob(db, { kinds: ['webhook'], owner: config.WORKER_ID, leaseMs: config.LEASE_MS }),
    run: (job, claimedAtMs) => runDelivery(job, claimedAtMs, services, stop.signal),
    pollMs: config.POLL_MS,
    nowMs,
    random: Math.random,
    onClaimFailed: (error) => log.warn({ err: error }, 'no job could be claimed'),
    stop: stop.signal,
  }),
);
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
log.info({ worker: config.WORKER_ID }, 'waiting for messages');
await Promise.all(lanes);
await db.close();
log.info('stopped');
