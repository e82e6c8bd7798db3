import { openStore } from '@armature/storage';
import type { Logger } from 'pino';
import type { AppDeps } from './app.ts';
import { People } from './auth/people/people.ts';
import type { Config, MailConfig } from './config.ts';
import type { ConnectionAddress } from './http/auth.ts';
import { logMailer, noMailer, type Mailer } from './mail/mailer.ts';
import { smtpMailer } from './mail/smtp.ts';
import { identityStore } from './services/identity.ts';
import { openDatabase, openSealing } from './services/database.ts';
import { readPriceSheets } from './metering/price-sheets.ts';

/** Where the process runs. */
export interface Surroundings {
  readonly connectionAddress: ConnectionAddress;
  /** Whether it goes on after an answer. */
  readonly outlivesAnswers: boolean;
}

/** What the application needs, from a process's settings; the first query connects. */
export function depsOf(
  { env, store, people, mail }: Config,
  log: Logger,
  { connectionAddress, outlivesAnswers }: Surroundings,
): AppDeps {
  const prices = readPriceSheets(env.PRICES_FILE);
  const db = openDatabase(env.DATABASE_URL, { max: env.DATABASE_POOL, name: 'armature-api' });
  return {
    db,
    store: openStore(store),
    log,
    keyPepper: env.KEY_PEPPER,
    sealing: openSealing(env.SEALING_KEYS),
    platformKey: env.PLATFORM_KEY,
    prices,
    publicUrl: env.PUBLIC_URL,
    requestBatch: env.REQUEST_BATCH,
    sessionSigningKey: env.SESSION_SIGNING_JWK,
    alsoPublishedKeys: env.SESSION_ALSO_PUBLISHED_JWKS ?? [],
    sessionTokenLifeS: env.SESSION_TOKEN_LIFE_S,
    claimLifeS: env.IDEMPOTENCY_CLAIM_S,
    people: new People({
      ...people,
      outlivesAnswers,
      store: identityStore(db),
      mailer: mailerOf(mail, log),
      log,
    }),
    connectionAddress,
  };
}

/** What sends the mails of a configuration. */
export function mailerOf(mail: MailConfig, log: Logger): Mailer {
  switch (mail.kind) {
    case 'smtp':
      return smtpMailer(mail);
    case 'log':
      return logMailer(log);
    case 'none':
      return noMailer;
  }
}
