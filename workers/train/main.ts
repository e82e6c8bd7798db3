import { readFile } from 'node:fs/promises';
import { baseWeightsUrl, loadBase } from '@armature/policy/checkpoint';
import pino from 'pino';
import { stopSignal } from '../jobs/stop-signal.ts';
import { readConfig } from './config.ts';
import { openPolicyWorkshop } from './policy/workshop.ts';
import { runWorker } from './worker.ts';

const config = readConfig();
const log = pino({ level: config.logLevel, name: 'train' }, pino.destination(2));
const base = loadBase(await readFile(baseWeightsUrl('nano')));

const stop = stopSignal((signal) => log.info({ signal }, 'stopping'));

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
  stop,
);
log.info('stopped');
process.exit(0);
