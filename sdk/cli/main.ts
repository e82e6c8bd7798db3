import { environment } from './config.ts';
import { runCli } from './run-cli.ts';
import { ask, readInput } from './terminal.ts';

const stop = new AbortController();
let handle: () => void = () => stop.abort();
let interrupted = false;
process.on('SIGINT', () => {
  if (interrupted) process.exit(130);
  interrupted = true;
  handle();
});

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
