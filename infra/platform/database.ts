import { ensureDatabase, migrate, setRolePasswords, urlForRole } from '@armature/db';
import { startPostgres, type RunningPostgres } from './postgres.ts';

const NAME = 'armature';
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;

export interface Database {
  readonly urls: { readonly admin: string; readonly app: string; readonly worker: string };
  stop(): Promise<void>;
}

export interface DatabaseOptions {
  readonly dir: string;
  readonly port: number;
  readonly durable: boolean;
  readonly passwords: { readonly app: string; readonly worker: string };
  readonly onCrash: (exit: string, restartInMs: number) => void;
}

/** Starts PostgreSQL, brings the schema up to date, and starts the server again if it dies. */
export async function startDatabase(options: DatabaseOptions): Promise<Database> {
  const { passwords } = options;
  const server = await KeptServer.start(options);
  try {
    const adminUrl = await ensureDatabase(server.adminUrl, NAME);
    await migrate(adminUrl);
    await setRolePasswords(adminUrl, passwords);
    return {
      urls: {
        admin: adminUrl,
        app: urlForRole(adminUrl, 'armature_app', passwords.app),
        worker: urlForRole(adminUrl, 'armature_worker', passwords.worker),
      },
      stop: () => server.stop(),
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** The server, started again after a longer wait each time it ends unasked. */
class KeptServer {
  readonly adminUrl: string;
  readonly #options: DatabaseOptions;
  readonly #stopping = new AbortController();
  readonly #kept: Promise<void>;
  #server: RunningPostgres;

  private constructor(options: DatabaseOptions, server: RunningPostgres) {
    this.#options = options;
    this.#server = server;
    this.adminUrl = server.adminUrl;
    this.#kept = this.#keep();
  }

  static async start(options: DatabaseOptions): Promise<KeptServer> {
    return new KeptServer(options, await launch(options));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#server.stop();
    await this.#kept;
  }

  #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #keep(): Promise<void> {
    const { signal } = this.#stopping;
    for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
      const code = await this.#server.exited;
      if (this.#isStopping()) return;
      this.#options.onCrash(`exit code ${code ?? 'unknown'}`, wait);
      await pause(wait, signal);
      if (this.#isStopping()) return;
      try {
        this.#server = await launch(this.#options);
      } catch (error) {
        this.#options.onCrash(error instanceof Error ? error.message : String(error), wait);
      }
      if (this.#isStopping()) await this.#server.stop();
    }
  }
}

function launch(options: DatabaseOptions): Promise<RunningPostgres> {
  return startPostgres({ dir: options.dir, port: options.port, durable: options.durable });
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
