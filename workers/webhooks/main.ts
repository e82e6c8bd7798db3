import { connect, Queue } from '@armature/db';
import pino from 'pino';
import { claimLoop } from '../jobs/claim-loop.ts';
import { stopSignal } from '../jobs/stop-signal.ts';
import { readConfig } from './config.ts';
import { deliver } from './deliver.ts';

const config = readConfig();
const log = pino({ level: config.LOG_LEVEL, name: 'webhooks' }, pino.destination(2));
const db = connect(config.DATABASE_URL, {
  max: config.WEBHOOK_LANES + 1,
  name: 'armature-webhooks',
  onSystemAccess: (reason) => log.trace({ reason }, 'system access'),
});

const stop = stopSignal((signal) => log.info({ signal }, 'stopping'));

const queue = await Queue.open(db, {
  onError: (error) => log.warn({ err: error }, 'the queue could not be looked after'),
});
const services = {
  db,
  queue,
  sealing: config.SEALING_KEYS,
  log,
  clock: () => new Date(),
  timeoutMs: config.WEBHOOK_TIMEOUT_MS,
  allowLoopback: config.WEBHOOK_ALLOW_LOOPBACK === 'true',
};
const running = claimLoop({
  claim: () => queue.take('webhook'),
  run: (work) => deliver(work, services),
  pollMs: config.POLL_MS,
  lanes: config.WEBHOOK_LANES,
  nowMs: () => performance.now(),
  random: Math.random,
  onClaimFailed: (error) => log.warn({ err: error }, 'no message could be taken'),
  stop,
});
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
log.info({ worker: config.WORKER_ID }, 'waiting for messages');
await running;
await queue.close();
await db.close();
log.info('stopped');
