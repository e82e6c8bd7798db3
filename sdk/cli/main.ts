import { CommanderError } from 'commander';
import { ArmatureError } from '../contract/index.ts';
import manifest from '../package.json' with { type: 'json' };
import { environment } from './config.ts';
import type { GlobalOptions, Runner } from './context.ts';
import { showError, type Output } from './output.ts';
import { buildProgram } from './program.ts';
import { ask, readInput } from './terminal.ts';

const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

const stop = new AbortController();
let handleInterrupt: () => void = () => stop.abort();
let interrupted = false;
process.on('SIGINT', () => {
  if (interrupted) process.exit(EXIT.interrupted);
  interrupted = true;
  handleInterrupt();
});

const output = (): Output => ({
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  interactive: process.stderr.isTTY && process.stdin.isTTY,
  json: program.opts<GlobalOptions>().json === true,
});

const run: Runner = (task) =>
  task({
    output: output(),
    env: environment(),
    cwd: process.cwd(),
    options: program.opts<GlobalOptions>(),
    signal: stop.signal,
    onInterrupt(handle) {
      const before = handleInterrupt;
      handleInterrupt = handle;
      return () => {
        handleInterrupt = before;
      };
    },
    ask,
    readInput,
  });

const program = buildProgram(manifest.version, run);

try {
  await program.parseAsync();
  process.exitCode = ended(EXIT.done);
} catch (error) {
  process.exitCode = report(error);
}

/** Says what went wrong. @returns the exit code. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  if (error instanceof ArmatureError) {
    showError(output(), error);
  } else {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    showError(output(), new ArmatureError('internal', text, { fix: 'Report this.' }));
  }
  return ended(EXIT.failed);
}

function ended(code: number): number {
  return interrupted ? EXIT.interrupted : code;
}
