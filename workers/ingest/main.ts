import { readConfig } from './config.ts';
import { runWorker } from './run-worker.ts';

await runWorker(readConfig());
