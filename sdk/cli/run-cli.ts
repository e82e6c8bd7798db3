import { CommanderError } from 'commander';
import { ArmatureError } from '../contract/index.ts';
import manifest from '../package.json' with { type: 'json' };
import type { Context, GlobalOptions } from './context.ts';
import { showError, type Output } from './output.ts';
import { buildProgram } from './program.ts';

/** What the command line needs of the process that it runs in. */
export interface Host extends Pick<
  Context,
  'env' | 'cwd' | 'signal' | 'onInterrupt' | 'ask' | 'readInput'
> {
  /** Words after the command's own name. */
  readonly argv: readonly string[];
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly interactive: boolean;
  /** Exit code that a signal asks for; null while none has come. */
  readonly interrupted: () => number | null;
}

const EXIT = { done: 0, failed: 1, usage: 2 } as const;

/**
 * Runs one command.
 * @returns its exit code: 0, 1 refused or failed, 2 wrong usage, 130 interrupted, 143 terminated.
 */
export async function runCli(host: Host): Promise<number> {
  const options = (): GlobalOptions => program.opts<GlobalOptions>();
  const output = (): Output => ({
    out: host.out,
    err: host.err,
    interactive: host.interactive,
    json: options().json === true,
  });
  const program = buildProgram(manifest.version, host, (task) =>
    task({ ...host, output: output(), options: options() }),
  );
  try {
    await program.parseAsync([...host.argv], { from: 'user' });
    return host.interrupted() ?? EXIT.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    showError(output(), asArmature(error));
    return host.interrupted() ?? EXIT.failed;
  }
}

function asArmature(error: unknown): ArmatureError {
  if (error instanceof ArmatureError) return error;
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return new ArmatureError('internal', text, { fix: 'Report this.', cause: error });
}
