import pino from 'pino';
import { readConfig } from '../../workers/train/config.ts';
import { runWorker } from '../../workers/train/worker.ts';
import { toyWorkshop } from './train.ts';

/** The train worker as a process of its own, with the toy in place of the policy. */
const stop = new AbortController();
process.on('SIGTERM', () => {
  stop.abort();
});
await runWorker(
  readConfig(),
  () => Promise.resolve(toyWorkshop({ stepMs: 20 })),
  pino({ level: 'info' }, pino.destination(2)),
  () => process.stdout.write(`${JSON.stringify({ ready: true })}\n`),
  stop.signal,
);
