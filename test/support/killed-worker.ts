import { performance } from 'node:perf_hooks';
import { claimJob, connect } from '@armature/db';
import { DiskStore } from '@armature/storage';
import pino from 'pino';
import { z } from 'zod';
import { runFinetune } from '../../workers/train/job/run.ts';
import { Interruptions } from './interruptions.ts';
import { toyWorkshop } from './train.ts';

/** A process that takes one fine-tune, with the toy in place of the policy, and kills itself at a point of it. */
const env = z
  .object({
    DATABASE_URL: z.string(),
    CACHE_DIR: z.string(),
    STORE_ROOT: z.string(),
    STORE_PUBLIC_URL: z.string(),
    STORE_SECRET: z.string(),
    KILL_AT: z.coerce.number(),
  })
  .parse(process.env);

const interruptions = new Interruptions(env.KILL_AT, 'kill');
const db = connect(env.DATABASE_URL, { max: 2 });
const store = new DiskStore({
  kind: 'disk',
  root: env.STORE_ROOT,
  publicUrl: env.STORE_PUBLIC_URL,
  secret: env.STORE_SECRET,
});
const job = await claimJob(db, { kinds: ['finetune'], owner: 'killed', leaseMs: 600_000 });
if (job === null) throw new Error('there is no job to claim');
const services = {
  db: interruptions.database(db),
  store: interruptions.store(store),
  log: pino({ level: 'silent' }),
  nowMs: () => performance.now(),
  openWorkshop: () => Promise.resolve(toyWorkshop()),
  vision: null,
  cacheDir: env.CACHE_DIR,
  threads: 1,
  beatMs: 1_000_000,
  checkpointEveryS: 0,
  code: { version: '1.2.3', build: 'test' },
};
await runFinetune(job, performance.now(), services, new AbortController().signal);
await db.close();
