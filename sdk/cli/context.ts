import { Armature } from '../src/index.ts';
import { resolveAccess } from './config.ts';
import type { Output } from './output.ts';

/** Options that every command takes. */
export interface GlobalOptions {
  readonly json?: true;
  readonly apiUrl?: string;
  readonly apiKey?: string;
}

/** What a command works with. */
export interface Context {
  readonly output: Output;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly options: GlobalOptions;
  /** Aborted by Ctrl-C, unless a command has taken it over, and by SIGTERM. */
  readonly signal: AbortSignal;
  /**
   * Takes Ctrl-C over. A second one always ends the process at once.
   * @returns gives it back.
   */
  readonly onInterrupt: (handle: () => void) => () => void;
  /** Asks a question on the terminal and reads one line. */
  readonly ask: (question: string, options?: { readonly hidden?: boolean }) => Promise<string>;
  /** Everything that is piped in. */
  readonly readInput: () => Promise<string>;
}

/** Runs a command's task with its context. */
export type Runner = (task: (context: Context) => Promise<void>) => Promise<void>;

/** A client for the address and key that hold here. */
export async function clientOf(context: Context): Promise<Armature> {
  const { apiUrl, apiKey } = await resolveAccess(context.options, context.env, context.cwd);
  return new Armature({ apiUrl, apiKey });
}

/** The same context with another key. */
export function withKey(context: Context, apiKey: string): Context {
  return { ...context, options: { ...context.options, apiKey } };
}

/** A secret that is asked for on a terminal, without showing it, and else read from the pipe. */
export async function enteredSecret(context: Context, question: string): Promise<string> {
  const text = context.output.interactive
    ? await context.ask(question, { hidden: true })
    : await context.readInput();
  return text.trim();
}
