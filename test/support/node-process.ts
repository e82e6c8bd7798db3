import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { bundled } from './bundle.ts';

export interface NodeProcess {
  /** What it has written to standard error. */
  log(): string;
  /** SIGTERM, and the exit code once it has ended. */
  stop(): Promise<number | null>;
  /** The exit code once it has ended by itself. */
  readonly ended: Promise<number | null>;
  /** SIGKILL: whatever it was doing is cut off. */
  kill(): Promise<void>;
}

/**
 * Starts a process of the platform from its entry, with this environment and PATH alone; it is ready
 * when this resolves.
 * @param entry relative to the repository, e.g. `api/main.ts`
 * @param onLine told every line that it writes to standard error
 * @param modules of packages, as `bundled` has them
 */
export async function startNodeProcess(
  entry: string,
  environment: Readonly<Record<string, string>>,
  onLine?: (line: string) => void,
  modules?: Parameters<typeof bundled>[1],
): Promise<NodeProcess> {
  const child: ChildProcess = spawn(process.execPath, [await bundled(entry, modules)], {
    env: { PATH: process.env['PATH'], ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exit = once(child, 'exit');
  const ended = exit.then(([code]) => code as number | null);
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error('the process has no output');
  let log = '';
  stderr.on('data', (piece: Buffer) => (log += piece.toString()));
  if (onLine !== undefined) createInterface({ input: stderr }).on('line', onLine);
  await Promise.race([
    once(stdout, 'data'),
    exit.then(() => {
      throw new Error(`${entry} ended before it was ready:\n${log}`);
    }),
  ]);
  return {
    log: () => log,
    ended,
    stop: () => {
      child.kill('SIGTERM');
      return ended;
    },
    kill: async () => {
      child.kill('SIGKILL');
      await exit;
    },
  };
}
