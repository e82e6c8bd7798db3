/** Loaded before a worker: writes the name and the settings of every thread that it starts to standard error. */
import { syncBuiltinESMExports } from 'node:module';
import threads from 'node:worker_threads';

threads.Worker = class extends threads.Worker {
  constructor(url, options) {
    super(url, options);
    const settings = options.workerData?.settings;
    process.stderr.write(`${JSON.stringify({ thread: options.name, ...settings })}\n`);
  }
};
syncBuiltinESMExports();
