import { getConnInfo } from '@hono/node-server/conninfo';
import pino from 'pino';
import { createApp } from './app.ts';
import { readConfig } from './config.ts';
import { depsOf } from './deps.ts';
import { listen } from './listen.ts';

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
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
