import { readFile } from 'node:fs/promises';
import { baseWeightsUrl, loadBase } from '@armature/policy/checkpoint';
import pino from 'pino';
import { readConfig } from './config.ts';
import { openPolicyWorkshop } from './policy/workshop.ts';
import { runWorker } from './worker.ts';

const config = readConfig();
const log = pino({ level: config.logLevel, name: 'train' }, pino.destination(2));
const base = loadBase(await readFile(baseWeightsUrl('nano')));

const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (stop.signal.aborted) process.exit(1);
    log.info({ signal }, 'stopping');
    stop.abort();
  });
}

await runWorker(
  config,
  () =>
    openPolicyWorkshop({
      base,
      threads: config.engineThreads,
      executionProvider: config.executionProvider,
    }),
  log,
  () => {
    process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
    log.info({ worker: config.workerId }, 'waiting for fine-tunes');
  },
  stop.signal,
);
log.info('stopped');
process.exit(0);
