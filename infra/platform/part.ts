import { type ChildProcess, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { PlatformError } from './errors.ts';
import { logTail, openLog } from './log-file.ts';

/** The line that a process prints on its standard output once it serves. */
const readySchema = z.object({ ready: z.literal(true), url: z.string().optional() });

export interface PartOptions {
  readonly name: string;
  /** The process's entry, a TypeScript file. */
  readonly entry: string;
  readonly env: Readonly<Record<string, string>>;
  /** For Node itself, such as those that its heap is made with. */
  readonly flags?: readonly string[];
  readonly logFile: string;
  readonly onEvent: (event: PartEvent) => void;
  /** Ends a start that is under way. */
  readonly signal?: AbortSignal;
  /** How long the first start may take. */
  readonly readyWithinMs?: number;
  /** How long the process may take to stop before it is killed. */
  readonly stopWithinMs?: number;
  readonly backOffMs?: { readonly first: number; readonly longest: number };
}

export type PartEvent =
  | { readonly kind: 'ready'; readonly part: string; readonly pid: number }
  | { readonly kind: 'line'; readonly part: string; readonly line: string }
  | {
      readonly kind: 'crashed';
      readonly part: string;
      readonly exit: string;
      readonly restartInMs: number;
    };

const TYPESCRIPT_LOADER = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
const LEASH = new URL('./leash.mjs', import.meta.url).href;

const READY_WITHIN_MS = 120_000;
const STOP_WITHIN_MS = 20_000;
const BACK_OFF_MS = { first: 500, longest: 30_000 };
/** A process that lived this long before it crashed starts again without a longer wait. */
const HEALTHY_AFTER_MS = 60_000;
const TAIL_LINES = 20;

/**
 * One process of the platform, kept alive. The first start must succeed; a process that crashes
 * after it is started again, each time after a longer wait.
 */
export class Part {
  readonly #options: PartOptions;
  #child: ChildProcess | undefined;
  #exited: Promise<string> = Promise.resolve('never started');
  #stopping = false;
  #failures = 0;
  #restart: NodeJS.Timeout | undefined;

  private constructor(options: PartOptions) {
    this.#options = options;
  }

  /**
   * Starts the process and waits for its ready line.
   * @throws PlatformError with the end of its log, when it exits or stays silent; the signal's
   * reason when that is given meanwhile. The process is then gone.
   */
  static async start(options: PartOptions): Promise<Part> {
    options.signal?.throwIfAborted();
    const part = new Part(options);
    const within = options.readyWithinMs ?? READY_WITHIN_MS;
    const { ready, exited } = part.#launch();
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<string>((resolve) => {
      timer = setTimeout(() => resolve(`did not get ready within ${within / 1000} s`), within);
    });
    const failure = await Promise.race([
      ready.then(() => undefined),
      exited.then((exit) => `ended with ${exit} before it was ready`),
      silence,
      aborted(options.signal),
    ]);
    clearTimeout(timer);
    if (failure === undefined) {
      void exited.then((exit) => part.#crashed(exit));
      return part;
    }
    await part.stop();
    options.signal?.throwIfAborted();
    throw new PlatformError(
      `${options.name} ${failure}. The end of ${options.logFile}:\n${logTail(options.logFile, TAIL_LINES)}`,
      { fix: `Read ${options.logFile}, mend what it names and start again.` },
    );
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Asks the process to stop, and kills it if it does not in time. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restart);
    const child = this.#child;
    if (child === undefined) return;
    child.kill('SIGTERM');
    const timer = setTimeout(
      () => child.kill('SIGKILL'),
      this.#options.stopWithinMs ?? STOP_WITHIN_MS,
    );
    await this.#exited;
    clearTimeout(timer);
  }

  #launch(): { ready: Promise<void>; exited: Promise<string> } {
    const { name, entry, env, flags = [], logFile, onEvent } = this.#options;
    const log = openLog(logFile);
    const startedAt = Date.now();
    // In a process group of its own, so that Ctrl-C reaches the platform alone and it stops its
    // parts in order; the leash ends them if the platform itself is killed.
    const child = spawn(
      process.execPath,
      [...flags, '--import', TYPESCRIPT_LOADER, '--import', LEASH, entry],
      { env: { ...env }, stdio: ['ignore', 'pipe', 'pipe', 'ipc'], detached: true },
    );
    this.#child = child;
    const line = (text: string): void => {
      log.write(`${text}\n`);
      onEvent({ kind: 'line', part: name, line: text });
    };
    const ready = new Promise<void>((resolve) => {
      readLines(child.stdout, (text) => {
        if (isReadyLine(text)) {
          onEvent({ kind: 'ready', part: name, pid: child.pid ?? 0 });
          resolve();
        } else {
          line(text);
        }
      });
    });
    readLines(child.stderr, line);
    const exited = new Promise<string>((resolve) => {
      child.once('error', (error) => {
        line(`${name} could not be started: ${error.message}`);
        resolve(error.message);
      });
      child.once('close', (code, signal) => {
        if (Date.now() - startedAt > HEALTHY_AFTER_MS) this.#failures = 0;
        const exit = signal ?? `exit code ${code ?? 'unknown'}`;
        log.end(`${name} ended with ${exit}\n`, () => resolve(exit));
      });
    });
    this.#exited = exited;
    return { ready, exited };
  }

  #crashed(exit: string): void {
    if (this.#stopping) return;
    const { first, longest } = this.#options.backOffMs ?? BACK_OFF_MS;
    const restartInMs = Math.min(first * 2 ** this.#failures, longest);
    this.#failures += 1;
    this.#options.onEvent({ kind: 'crashed', part: this.#options.name, exit, restartInMs });
    this.#restart = setTimeout(() => {
      void this.#launch().exited.then((next) => this.#crashed(next));
    }, restartInMs);
  }
}

function aborted(signal: AbortSignal | undefined): Promise<string> {
  return new Promise((resolve) => {
    signal?.addEventListener('abort', () => resolve('was not waited for'), { once: true });
  });
}

function readLines(stream: NodeJS.ReadableStream | null, onLine: (line: string) => void): void {
  if (stream !== null) createInterface({ input: stream }).on('line', onLine);
}

function isReadyLine(text: string): boolean {
  if (!text.startsWith('{')) return false;
  try {
    return readySchema.safeParse(JSON.parse(text)).success;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}
