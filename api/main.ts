import { getConnInfo } from '@hono/node-server/conninfo';
import pino from 'pino';
import { createApp } from './app.ts';
import { readConfig } from './config.ts';
import { depsOf } from './deps.ts';
import { listen } from './listen.ts';
import { isBrokenConnection } from './services/database.ts';

/** What requests get that still run when the way to the database broke off, ms. */
const LAST_ANSWERS_MS = 5_000;

const config = readConfig();
const { env } = config;
const log = pino({ level: env.LOG_LEVEL, name: 'api' }, pino.destination({ dest: 2, sync: true }));
const deps = depsOf(config, log, {
  connectionAddress: (c) => getConnInfo(c).remote.address,
  outlivesAnswers: true,
});
const app = await createApp(deps);
const server = await listen(app, { hostname: env.HOST, port: env.PORT });
process.stdout.write(`${JSON.stringify({ ready: true, url: env.PUBLIC_URL })}\n`);

let stopping: Promise<void> | undefined;
const stop = (signal: string): void => {
  if (stopping !== undefined) return;
  log.info({ signal }, 'stopping');
  stopping = server
    .close()
    .then(() => deps.people.close())
    .then(() => deps.db.close());
  stopping.catch((error: unknown) => {
    log.error({ err: error }, 'did not stop cleanly');
    process.exitCode = 1;
  });
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
