import { getConnInfo } from '@hono/node-server/conninfo';
import pino from 'pino';
import { createApp, type AppDeps } from './app.ts';
import type { Config } from './config.ts';
import { depsOf } from './deps.ts';
import { listen } from './listen.ts';
import { isBrokenConnection } from './services/database.ts';

/** What requests get that still run when the way to the database broke off, ms. */
const LAST_ANSWERS_MS = 5_000;

/** What the application needs in a process of its own, which logs to standard error. */
export function processDeps(config: Config): AppDeps {
  const log = pino(
    { level: config.env.LOG_LEVEL, name: 'api' },
    pino.destination({ dest: 2, sync: true }),
  );
  return depsOf(config, log, {
    connectionAddress: (c) => getConnInfo(c).remote.address,
    outlivesAnswers: true,
  });
}

/**
 * Serves the application until the process is told to stop; a line on standard output says that it answers.
 * @throws Error when the address is taken.
 */
export async function serve(deps: AppDeps, env: Config['env']): Promise<void> {
  const { log } = deps;
  const server = await listen(await createApp(deps), { hostname: env.HOST, port: env.PORT });
  let stopping: Promise<void> | undefined;
  const stop = (signal: string): void => {
    if (stopping !== undefined) return;
    log.info({ signal }, 'stopping');
    stopping = server
      .close()
      .then(() => deps.people.close())
      .then(() => deps.db.close())
      .catch((error: unknown) => {
        log.error({ err: error }, 'did not stop cleanly');
        process.exitCode = 1;
      })
      // What still waits is for nobody, such as the discovery of a provider that does not answer.
      .then(() => process.exit());
  };
  // One query is never answered then and keeps its connection, so that a fresh process takes the place.
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'an error that nobody caught');
    process.exitCode = 1;
    if (!isBrokenConnection(error)) process.exit();
    setTimeout(() => process.exit(), LAST_ANSWERS_MS);
    stop('the way to the database broke off');
  });
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // Last, since whoever reads it may tell the process to stop at once.
  process.stdout.write(`${JSON.stringify({ ready: true, url: env.PUBLIC_URL })}\n`);
}
