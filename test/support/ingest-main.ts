import { z } from 'zod';
import { readConfig } from '../../workers/ingest/config.ts';
import { runWorker } from '../../workers/ingest/run-worker.ts';

/** The ingest worker's process as `workers/ingest/main.ts` starts it, but for the entry of those that check. */
const { CHECKER: checker } = z.object({ CHECKER: z.string() }).parse(process.env);
await runWorker(readConfig(), { checker });
