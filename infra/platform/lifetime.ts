import { PlatformError } from './errors.ts';

/**
 * Runs `main` under the terminal's signals: the first SIGINT or SIGTERM aborts `signal` and resolves
 * `untilStopped`, a second ends the process at once. Errors are printed with their fix and set the
 * exit code; stopping on request is no error.
 */
export async function runUntilStopped(
  main: (signal: AbortSignal, untilStopped: Promise<void>) => Promise<void>,
): Promise<void> {
  const controller = new AbortController();
  const untilStopped = new Promise<void>((resolve) => {
    controller.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Interrupted());
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    await main(controller.signal, untilStopped);
  } catch (error) {
    if (comesOfInterruption(error)) {
      process.exitCode = 130;
      return;
    }
    process.stderr.write(`${describe(error)}\n`);
    process.exitCode = 1;
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

/** The person at the terminal asked to stop. */
export class Interrupted extends Error {
  constructor() {
    super('interrupted');
    this.name = 'Interrupted';
  }
}

/** Whether an error, or what caused it, is the person's wish to stop. */
function comesOfInterruption(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause)
    if (at instanceof Interrupted) return true;
  return false;
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const fix = 'fix' in error && typeof error.fix === 'string' ? `\n${error.fix}` : '';
  const known = error instanceof PlatformError || fix !== '';
  return `${known ? error.message : (error.stack ?? error.message)}${fix}`;
}
