import { isMainThread } from 'node:worker_threads';

/**
 * Preloaded into every process of the platform: when the channel to the platform closes, however
 * it ended, the process asks itself to stop, and so none outlives it. Plain JavaScript, since the
 * process's threads preload it too, and they load TypeScript by means of their own.
 */
const GRACE_MS = 15_000;

if (isMainThread) {
  process.channel?.unref();
  process.once('disconnect', () => {
    process.kill(process.pid, 'SIGTERM');
    setTimeout(() => process.exit(1), GRACE_MS).unref();
  });
}
