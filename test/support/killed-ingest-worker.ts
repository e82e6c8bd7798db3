import { mkdir } from 'node:fs/promises';
import { claimJob, connect } from '@armature/db';
import { DiskStore } from '@armature/storage';
import pino from 'pino';
import { z } from 'zod';
import { runIngest } from '../../workers/ingest/job.ts';
import { Interruptions } from './interruptions.ts';

/** A process that takes one data set and kills itself at a point of its validation. */
const env = z
  .object({
    DATABASE_URL: z.string(),
    SCRATCH: z.string(),
    STORE_ROOT: z.string(),
    STORE_PUBLIC_URL: z.string(),
    STORE_SECRET: z.string(),
    KILL_AT: z.coerce.number(),
  })
  .parse(process.env);

await mkdir(env.SCRATCH, { recursive: true });
const interruptions = new Interruptions(env.KILL_AT, 'kill');
const db = connect(env.DATABASE_URL, { max: 2 });
const store = new DiskStore({
  kind: 'disk',
  root: env.STORE_ROOT,
  publicUrl: env.STORE_PUBLIC_URL,
  secret: env.STORE_SECRET,
});
const job = await claimJob(db, { kinds: ['ingest'], owner: 'killed', leaseMs: 600_000 });
if (job === null) throw new Error('there is no job to claim');
const services = {
  db: interruptions.database(db),
  store: interruptions.store(store),
  scratch: env.SCRATCH,
  lanes: 1,
  memoryMib: 1_024,
  beatMs: 1_000_000,
  nowMs: () => 0,
  log: pino({ level: 'silent' }),
};
await runIngest(job, 0, services, new AbortController().signal);
await db.close();
