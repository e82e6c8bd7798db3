import type { MailConfig } from '../../api/config.ts';
import type { TestApiOptions } from './api.ts';

/** What of an API process's environment the options of a suite set. */
export function settingsOf({
  requestBatch,
  sessionTokenLifeS,
  oidc,
  mail,
  publicUrl,
}: Omit<TestApiOptions, 'databaseRole' | 'objectStore'>): Record<string, string> {
  return {
    ...(requestBatch === undefined ? {} : { REQUEST_BATCH: String(requestBatch) }),
    ...(sessionTokenLifeS === undefined ? {} : { SESSION_TOKEN_LIFE_S: String(sessionTokenLifeS) }),
    ...(oidc === undefined
      ? {}
      : {
          OIDC_ISSUER: oidc.issuer,
          OIDC_CLIENT_ID: oidc.clientId,
          OIDC_CLIENT_SECRET: oidc.clientSecret,
        }),
    ...(mail === undefined ? {} : mailSettings(mail)),
    ...(publicUrl === undefined ? {} : { PUBLIC_URL: publicUrl }),
  };
}

function mailSettings(mail: MailConfig): Record<string, string> {
  if (mail.kind !== 'smtp') return { MAIL_KIND: mail.kind };
  return { MAIL_KIND: 'smtp', SMTP_URL: mail.url, MAIL_FROM: mail.from };
}
