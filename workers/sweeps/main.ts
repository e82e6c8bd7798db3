import { connect, Queue } from '@armature/db';
import { openStore } from '@armature/storage';
import pino from 'pino';
import { claimLoop } from '../jobs/claim-loop.ts';
import { stopSignal } from '../jobs/stop-signal.ts';
import { readConfig } from './config.ts';
import { runSweep } from './run-sweep.ts';
import { sweeps } from './sweeps.ts';

/** How often it is asked whether a sweep is due; the queue takes one of each in its period. */
const ASK_EVERY_MS = 30_000;

const config = readConfig();
const log = pino({ level: config.LOG_LEVEL, name: 'sweeps' }, pino.destination(2));
const db = connect(config.DATABASE_URL, {
  max: 3,
  name: 'armature-sweeps',
  onSystemAccess: (reason) => log.debug({ reason }, 'system access'),
});
const store = openStore(config.store);

const stop = stopSignal((signal) => log.info({ signal }, 'stopping'));

const queue = await Queue.open(db, {
  onError: (error) => log.warn({ err: error }, 'the queue could not be looked after'),
});
const run = {
  db,
  store,
  queue,
  sweeps,
  log,
  sealing: config.SEALING_KEYS,
  clock: () => new Date(),
  stop,
};
let askedAtMs = -Infinity;
async function next() {
  if (performance.now() - askedAtMs >= ASK_EVERY_MS) {
    for (const { name, everyS } of sweeps) {
      await queue.sendEvery('sweep', { sweep: name }, { key: name, seconds: everyS });
    }
    askedAtMs = performance.now();
  }
  return queue.take('sweep');
}
const running = claimLoop({
  claim: next,
  run: (work) => runSweep(work, run),
  pollMs: config.POLL_MS,
  nowMs: () => performance.now(),
  random: Math.random,
  onClaimFailed: (error) => log.warn({ err: error }, 'no sweep could be taken'),
  stop,
});
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
log.info({ worker: config.WORKER_ID }, 'waiting for sweeps');
await running;
await queue.close();
await db.close();
log.info('stopped');
