import { mkdir } from 'node:fs/promises';
import { pino } from 'pino';
import { z } from 'zod';
import { runIngest } from '../../workers/ingest/job.ts';
import { claimToKill } from './killed-claim.ts';

/** A process that takes one data set and kills itself at a point of its validation. */
const { SCRATCH: scratch, CHECKER: checker } = z
  .object({ SCRATCH: z.string(), CHECKER: z.string() })
  .parse(process.env);
await mkdir(scratch, { recursive: true });
const { job, db, store, close } = await claimToKill('ingest');
const services = {
  db,
  store,
  scratch,
  lanes: 1,
  memoryMib: 1_024,
  checker,
  beatMs: 1_000_000,
  nowMs: () => 0,
  log: pino({ level: 'silent' }),
};
await runIngest(job, 0, services, new AbortController().signal);
await close();
