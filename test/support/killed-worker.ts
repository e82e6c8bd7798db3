import { performance } from 'node:perf_hooks';
import { pino } from 'pino';
import { z } from 'zod';
import { runFinetune } from '../../workers/train/job/run.ts';
import { claimToKill } from './killed-claim.ts';
import { toyWorkshop } from './train.ts';

/** A process that takes one fine-tune, with the toy in place of the policy, and kills itself at a point of it. */
const { CACHE_DIR: cacheDir } = z.object({ CACHE_DIR: z.string() }).parse(process.env);
const { job, db, store, close } = await claimToKill('finetune');
const services = {
  db,
  store,
  log: pino({ level: 'silent' }),
  nowMs: () => performance.now(),
  openWorkshop: () => Promise.resolve(toyWorkshop()),
  vision: null,
  cacheDir,
  threads: 1,
  beatMs: 1_000_000,
  checkpointEveryS: 0,
  code: { version: '1.2.3', build: 'test' },
};
await runFinetune(job, performance.now(), services, new AbortController().signal);
await close();
