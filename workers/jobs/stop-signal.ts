/**
 * Aborted by the first SIGTERM or SIGINT, of which `onStop` is told; a second one ends the process at once.
 */
export function stopSignal(onStop: (signal: 'SIGTERM' | 'SIGINT') => void): AbortSignal {
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(1);
      onStop(signal);
      stop.abort();
    });
  }
  return stop.signal;
}
