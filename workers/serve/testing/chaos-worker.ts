import { z } from 'zod';
import { systemClock } from '../clock.ts';
import { tokenVerifier } from '../gateway/index.ts';
import { ImagePool } from '../images/index.ts';
import { connect, DatabaseSink, Ledger } from '../ledger/index.ts';
import { silent } from '../ledger/testing/entries.ts';
import type { PolicyManifest } from '../policies/index.ts';
import { startServe } from '../start.ts';
import { FakeRuntime } from './fake-runtime.ts';
import { MemoryStore, storePolicy } from './worker.ts';

/** A worker in a process of its own, whole but for the model, with the settings of its argument. */
const settings = z
  .object({
    port: z.number(),
    spool: z.string(),
    jwksUrl: z.string(),
    databaseUrl: z.string(),
    tenants: z.array(z.string()),
  })
  .parse(JSON.parse(process.argv[2] ?? ''));

const store = new MemoryStore();
for (const tenant of settings.tenants) storePolicy(store, tenant, tenant);
const db = connect(settings.databaseUrl, { max: 2, name: 'chaos' });
const ledger = new Ledger({
  dir: settings.spool,
  sink: new DatabaseSink(db, silent),
  log: silent,
  flushMs: 10,
  segmentBytes: 8192,
});
await startServe({
  worker: 'chaos',
  host: '127.0.0.1',
  port: settings.port,
  maxSessions: 100,
  buckets: [1, 2, 4],
  policySlots: 8,
  runtime: new FakeRuntime(),
  store,
  readManifest: (bytes) => JSON.parse(Buffer.from(bytes).toString()) as PolicyManifest,
  verify: tokenVerifier(settings.jwksUrl),
  images: await ImagePool.start(1, () => undefined),
  ledger,
  clock: systemClock,
  log: silent,
});
process.on('SIGTERM', () => {
  void ledger.flush(600_000).then((flushed) => process.exit(flushed ? 0 : 3));
});
process.stdout.write('ready\n');
