import { openStore } from '@armature/storage';
import pino from 'pino';
import { createApp } from './app.ts';
import { readConfig } from './config.ts';
import { listen } from './listen.ts';
import { openDatabase } from './services/database.ts';

const { env, store } = readConfig();
const log = pino({ level: env.LOG_LEVEL, name: 'api' }, pino.destination({ dest: 2, sync: true }));
const db = openDatabase(env.DATABASE_URL, { max: env.DATABASE_POOL, name: 'armature-api' });
const app = await createApp({
  db,
  store: openStore(store),
  log,
  keyPepper: env.KEY_PEPPER,
  platformKey: env.PLATFORM_KEY,
  sessionSigningKey: env.SESSION_SIGNING_JWK,
  alsoPublishedKeys: env.SESSION_ALSO_PUBLISHED_JWKS ?? [],
});
const server = await listen(app, { hostname: env.HOST, port: env.PORT });
process.stdout.write(`${JSON.stringify({ ready: true, url: env.PUBLIC_URL })}\n`);

let stopping: Promise<void> | undefined;
const stop = (signal: string): void => {
  if (stopping !== undefined) return;
  log.info({ signal }, 'stopping');
  stopping = server.close().then(() => db.close());
  stopping.catch((error: unknown) => {
    log.error({ err: error }, 'did not stop cleanly');
    process.exitCode = 1;
  });
};
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
