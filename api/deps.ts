import { openStore } from '@armature/storage';
import type { Logger } from 'pino';
import type { AppDeps } from './app.ts';
import type { Config } from './config.ts';
import { openDatabase, openSealing } from './services/database.ts';

/** What the application needs, from a process's settings; the first query connects. */
export function depsOf({ env, store }: Config, log: Logger): AppDeps {
  return {
    db: openDatabase(env.DATABASE_URL, { max: env.DATABASE_POOL, name: 'armature-api' }),
    store: openStore(store),
    log,
    keyPepper: env.KEY_PEPPER,
    sealing: openSealing(env.SEALING_KEYS),
    platformKey: env.PLATFORM_KEY,
    sessionSigningKey: env.SESSION_SIGNING_JWK,
    alsoPublishedKeys: env.SESSION_ALSO_PUBLISHED_JWKS ?? [],
  };
}
