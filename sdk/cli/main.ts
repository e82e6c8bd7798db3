#!/usr/bin/env node
import { environment } from './config.ts';
import { runCli } from './run-cli.ts';
import { ask, readInput } from './terminal.ts';

const stop = new AbortController();
let handle: () => void = () => stop.abort();
/** Exit code of a process that a signal has stopped, as shells count: 128 and the signal's number. */
let interrupted: number | null = null;
const onSignal = (code: number, stopBy: () => void) => (): void => {
  if (interrupted !== null) process.exit(code);
  interrupted = code;
  stopBy();
};
process.on(
  'SIGINT',
  onSignal(130, () => {
    handle();
  }),
);
// Nobody is there to answer a question: what a command asks on Ctrl-C is not asked.
process.on(
  'SIGTERM',
  onSignal(143, () => {
    stop.abort();
  }),
);

process.exitCode = await runCli({
  argv: process.argv.slice(2),
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  interactive: process.stderr.isTTY && process.stdin.isTTY,
  interrupted: () => interrupted,
  env: environment(),
  cwd: process.cwd(),
  signal: stop.signal,
  onInterrupt(next) {
    const before = handle;
    handle = next;
    return () => {
      handle = before;
    };
  },
  ask,
  readInput,
});
