/**
 * Preloaded into every process of the platform: when the channel to the platform closes, however
 * it ended, the process asks itself to stop, and so none outlives it.
 */
const GRACE_MS = 15_000;

process.channel?.unref();
process.once('disconnect', () => {
  process.kill(process.pid, 'SIGTERM');
  setTimeout(() => process.exit(1), GRACE_MS).unref();
});
