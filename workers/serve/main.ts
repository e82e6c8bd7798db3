import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import v8 from 'node:v8';
import { baseWeightsUrl, loadBase, readManifest } from '@armature/policy/checkpoint';
import { Engine } from '@armature/policy/engine';
import { PolicyRuntime } from '@armature/policy/runtime';
import { ROBOT_PATH } from '@armature/sdk/contract';
import { openStore } from '@armature/storage';
import pino from 'pino';
import { systemClock } from './clock.ts';
import { loadConfig } from './config.ts';
import { OpenpiAccess, serveMetricsAt, tokenVerifier } from './gateway/index.ts';
import { GraphBuilder } from './graphs/index.ts';
import { ImagePool } from './images/index.ts';
import {
  connect,
  DatabaseSink,
  EndedSessions,
  Heartbeat,
  isBrokenConnection,
  Ledger,
} from './ledger/index.ts';
import { watchLag } from './lag-watch.ts';
import { MemoryWatch } from './memory-watch.ts';
import { serveMetrics } from './metrics.ts';
import { startServe } from './start.ts';
import { ThreadWatch } from './thread-watch.ts';

const HEARTBEAT_MS = 2_000;
/** What the ledger gets to reach the database before the process ends; the spool keeps the rest. */
const LAST_FLUSH_MS = 5_000;
/** How long the process waits at its end for a word with the database, which may be away; ms. */
const LAST_WORD_MS = 3_000;
const CLOSE_JITTER_MS = 250;
const MEMORY_EVERY_MS = 5_000;
const MEMORY_READINGS = 3;
const LAG_EVERY_MS = 1_000;

const config = loadConfig();
const log = pino({ level: config.LOG_LEVEL, name: 'serve' }, pino.destination(2));
const metrics = serveMetrics();

/** Of the engines: a gateway that wants a core gets it, so that pings and frames do not wait for a run. */
const ENGINE_NICENESS = 5;

/**
 * What a thread's old space, with the pictures and tensors that it holds, may come to before V8 first marks all
 * of it, MB. Left to itself that is so little that an image thread's was marked after every seventy pictures, by
 * V8's own threads, for which gateway and pictures then had to wait.
 */
const THREAD_OLD_SPACE_MB = 64;
// Read when a thread starts: in force for all that are started below.
v8.setFlagsFromString(`--initial-old-space-size=${THREAD_OLD_SPACE_MB}`);

const buckets = batchSizes(config.MAX_BATCH);
const threads = new ThreadWatch();
const engine = await Engine.start({
  threads: config.ENGINE_THREADS,
  executionProvider: config.EXECUTION_PROVIDER,
  niceness: ENGINE_NICENESS,
  onThreadLost: threads.lost,
});
const reasonEngine =
  config.REASON_THREADS === 0
    ? undefined
    : await Engine.start({
        threads: config.REASON_THREADS,
        executionProvider: config.EXECUTION_PROVIDER,
        niceness: ENGINE_NICENESS,
        name: 'reason',
        onThreadLost: threads.lost,
      });
const base = loadBase(await readFile(baseWeightsUrl('nano')));
const graphs = await GraphBuilder.start({
  base,
  executionProvider: config.EXECUTION_PROVIDER,
  onThreadLost: threads.lost,
});
const runtime = await PolicyRuntime.create({
  engine,
  ...(reasonEngine === undefined ? {} : { reasonEngine }),
  base,
  graphs,
  buckets,
  slots: config.POLICY_SLOTS,
  pulledBack: config.GUIDANCE_PULLED_BACK === 'on',
});
const images = await ImagePool.start(config.IMAGE_THREADS, (err) =>
  log.error({ err }, 'an image thread ended; another takes its place'),
);
const db = connect(config.DATABASE_URL, { max: 3, name: 'armature-serve' });
const ledger = new Ledger({
  dir: config.SPOOL_DIR,
  maxBytes: config.SPOOL_MAX_MB * 2 ** 20,
  sink: new DatabaseSink(db, log),
  log,
  onFlushed: (entries) => metrics.flushed.inc(entries),
});
const verify = tokenVerifier(config.JWKS_URL, {
  cacheS: config.JWKS_CACHE_S,
  cooldownS: config.JWKS_COOLDOWN_S,
});
const { gateway } = await startServe({
  worker: config.WORKER_ID,
  host: config.HOST,
  port: config.PORT,
  maxSessions: config.MAX_SESSIONS,
  buckets,
  policySlots: config.POLICY_SLOTS,
  tenantLimit: config.TENANT_MAX_IN_FLIGHT ?? config.MAX_BATCH,
  admissionFill: config.ADMISSION_FILL,
  runtime,
  threadsAlive: () => threads.isWhole,
  ...(reasonEngine === undefined
    ? {}
    : {
        engines: [
          { name: 'act', serves: ['act'] },
          { name: 'reason', serves: ['reason'] },
        ] as const,
      }),
  store: openStore(config.store),
  readManifest,
  verify,
  openpi: new OpenpiAccess({
    worker: config.WORKER_ID,
    apiUrl: config.OPENPI_API_URL,
    embodimentId: config.OPENPI_EMBODIMENT,
    defaultKey: config.OPENPI_KEY,
    verify,
    log,
  }),
  images,
  ledger,
  metrics,
  clock: systemClock,
  log,
});
const { METRICS_HOST, METRICS_PORT } = config;
const metricsServer =
  METRICS_PORT === undefined
    ? undefined
    : await serveMetricsAt({ metrics, host: METRICS_HOST, port: METRICS_PORT, log });
const heartbeat = new Heartbeat(
  db,
  () => ({
    id: config.WORKER_ID,
    url: new URL(ROBOT_PATH, config.PUBLIC_URL).href,
    state: gateway.ready ? 'ready' : 'draining',
    sessions: gateway.sessions,
  }),
  log,
  HEARTBEAT_MS,
);
await heartbeat.beat();
const ended = new EndedSessions({
  db,
  worker: config.WORKER_ID,
  connected: () => gateway.connected,
  onEnded: (sessions) => gateway.endSessions(sessions),
  log,
});
await ended.look();
const looking = setInterval(() => void ended.look(), HEARTBEAT_MS);

let stopping = false;
let signals = 0;
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    signals += 1;
    // It may be leaving already, for its memory: only who asks twice does not want to wait.
    if (signals > 1) process.exit(1);
    if (!stopping) end(signal);
  });
}
// Robots leave in order for a fresh process; what is owed lies in the spool.
process.on('uncaughtException', (error) => {
  log.fatal({ err: error }, 'an error that nobody caught');
  if (!isBrokenConnection(error)) process.exit(1);
  if (!stopping) end('the way to the database broke off');
});
// Nothing is computed any more: robots go on elsewhere, and a process with all its threads takes the place.
threads.whenLost((error) => {
  log.fatal({ err: error }, 'a thread of the engines has ended');
  if (!stopping) end('a thread of the engines has ended', 1);
});
if (config.MEMORY_BUDGET_MB !== undefined) {
  const watch = new MemoryWatch({
    budget: config.MEMORY_BUDGET_MB * 2 ** 20,
    resident: () => process.memoryUsage.rss(),
    readings: MEMORY_READINGS,
    onOver: (bytes) => {
      log.warn({ bytes }, 'over the memory budget');
      if (!stopping) end('memory budget');
    },
  });
  setInterval(() => watch.read(), MEMORY_EVERY_MS).unref();
}
const lagWatch = watchLag(metrics, log);
setInterval(() => lagWatch.read(), LAG_EVERY_MS).unref();
process.stdout.write(`${JSON.stringify({ ready: true, url: config.PUBLIC_URL })}\n`);
log.info({ port: gateway.port, worker: config.WORKER_ID }, 'serving');

/** Stops in order and ends the process; whoever keeps it starts another. */
function end(why: string, code = 0): void {
  stopping = true;
  stop(why).then(
    () => process.exit(code),
    (error: unknown) => {
      log.fatal({ err: error }, 'the worker did not stop cleanly');
      process.exit(1);
    },
  );
}

/** Readiness off, no new robots, those here told to leave, records carried over, sockets closed. */
async function stop(why: string): Promise<void> {
  log.info({ why, sessions: gateway.sessions }, 'draining');
  gateway.beginDrain('the worker is stopping');
  await atMost(LAST_WORD_MS, heartbeat.beat());
  await gateway.close(config.DRAIN_GRACE_MS, CLOSE_JITTER_MS);
  const flushed = await ledger.flush(LAST_FLUSH_MS);
  if (!flushed) log.warn({ dir: config.SPOOL_DIR }, 'records stay in the spool for the next start');
  clearInterval(looking);
  await atMost(LAST_WORD_MS, Promise.all([ended.look(), heartbeat.stop()]));
  // What is being written still fails with the connections, and is written again by the next process.
  await Promise.all([ledger.close(), db.close()]);
  await images.close();
  await graphs.close();
  await engine.close();
  await reasonEngine?.close();
  metricsServer?.closeAllConnections();
  metricsServer?.close();
  log.info('stopped');
}

async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  await Promise.race([work, sleep(ms)]);
}

/** Batch sizes that graphs are built for: powers of two up to the largest, and that itself. */
function batchSizes(largest: number): number[] {
  const powers = Array.from({ length: Math.ceil(Math.log2(largest)) }, (_, i) => 2 ** i);
  return [...powers, largest];
}
