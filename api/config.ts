import { SESSION_TOKEN_MAX_LIFE_S } from '@armature/sdk/contract';
import { storeConfigFromEnv, type StoreConfig } from '@armature/storage';

import { z } from 'zod';
import type { PeopleSettings } from './auth/people/people.ts';
import { SESSION_TOKEN_LIFE_S, type JWK } from './auth/session-tokens.ts';
import { requestRate } from './limits.ts';
import { CLAIM_LIFE_S } from './services/idempotency.ts';
import type { SmtpSettings } from './mail/smtp.ts';

const jwk = z.string().transform((text, ctx): JWK => {
  try {
    return z.record(z.string(), z.string()).parse(JSON.parse(text));
  } catch (error) {
    ctx.addIssue({ code: 'custom', message: `is no JWK: ${String(error)}` });
    return z.NEVER;
  }
});
const jwks = z.string().transform((text, ctx): JWK[] => {
  try {
    return z.array(z.record(z.string(), z.string())).parse(JSON.parse(text));
  } catch (error) {
    ctx.addIssue({ code: 'custom', message: `is no list of JWKs: ${String(error)}` });
    return z.NEVER;
  }
});

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);
const origin = z
  .url()
  .refine((text) => URL.canParse(text) && new URL(text).origin === text, 'must be an origin');

const envSchema = z.object({
  HOST: z.string().default('127.0.0.1'),
  /** 0 takes a free port. */
  PORT: z.coerce.number().int().min(0).max(65_535),
  /** Base URL under which robots and clients reach this process; paths come after it with their own slash. */
  PUBLIC_URL: z.url().transform((url) => url.replace(/\/+$/, '')),
  DATABASE_URL: z.string().min(1),
  DATABASE_POOL: z.coerce.number().int().min(1).max(200).default(10),
  KEY_PEPPER: z.string().min(32),
  /** `id:key` pairs: the first seals what the database keeps, the others open what was sealed before. */
  SEALING_KEYS: z.string().min(1),
  PLATFORM_KEY: z.string().min(32),
  SESSION_SIGNING_JWK: jwk,
  /** Public JWKs published beside the signing one, as a JSON list. */
  SESSION_ALSO_PUBLISHED_JWKS: jwks.optional(),
  /** Life of a session token, s. */
  SESSION_TOKEN_LIFE_S: z.coerce
    .number()
    .int()
    .min(10)
    .max(SESSION_TOKEN_MAX_LIFE_S)
    .default(SESSION_TOKEN_LIFE_S),
  /** How long a request that claims an idempotency key is believed to be at work, s. */
  IDEMPOTENCY_CLAIM_S: z.coerce.number().int().min(2).max(3_600).default(CLAIM_LIFE_S),
  /** Signs the cookies and links of people who sign in. */
  AUTH_SECRET: z.string().min(32),
  /** Origins of pages that people sign in from, beside the public URL's. */
  AUTH_ORIGINS: list.pipe(z.array(origin)).optional(),
  /** Addresses or ranges of the proxies whose X-Forwarded-For counts. */
  TRUSTED_PROXIES: list
    .pipe(z.array(z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()])))
    .optional(),
  /** JSON list of the operator's price sheets; the example holds where it is not set. */
  PRICES_FILE: z.string().min(1).optional(),
  /** Requests of a tenant that this process fetches from its rate at a time. */
  REQUEST_BATCH: z.coerce.number().int().min(1).max(1_000).default(requestRate.batch),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
});

/** An OpenID provider, or none: all three or nothing. */
const oidcSchema = z.object({
  OIDC_ISSUER: z.url(),
  OIDC_CLIENT_ID: z.string().min(1),
  OIDC_CLIENT_SECRET: z.string().min(1),
});

const mailSchema = z.discriminatedUnion('MAIL_KIND', [
  z.object({
    MAIL_KIND: z.literal('smtp'),
    SMTP_URL: z.url({ protocol: /^smtps?$/ }),
    MAIL_FROM: z.string().min(3),
  }),
  z.object({ MAIL_KIND: z.literal('log') }),
  z.object({ MAIL_KIND: z.literal('none') }),
]);

export type MailConfig = ({ kind: 'smtp' } & SmtpSettings) | { kind: 'log' } | { kind: 'none' };

export interface Config {
  env: z.output<typeof envSchema>;
  store: StoreConfig;
  people: Omit<PeopleSettings, 'outlivesAnswers'>;
  mail: MailConfig;
}

/** The process's settings. @throws Error naming each variable that is missing or wrong. */
export function readConfig(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Config {
  const asksForOidc = Object.keys(oidcSchema.shape).some((name) => (env[name] ?? '') !== '');
  const [main, mail, oidc] = [
    envSchema.safeParse(env),
    mailSchema.safeParse(env),
    oidcSchema.safeParse(env),
  ];
  const failed = [main, mail, ...(asksForOidc ? [oidc] : [])].flatMap(
    ({ error }) => error?.issues ?? [],
  );
  if (failed.length > 0 || !main.success || !mail.success) {
    const lines = failed.map(({ path, message }) => `${path.map(String).join('.')}: ${message}`);
    throw new Error(`the environment is not complete:\n${lines.join('\n')}`);
  }
  return {
    env: main.data,
    store: storeConfigFromEnv(env),
    people: {
      secret: main.data.AUTH_SECRET,
      publicUrl: main.data.PUBLIC_URL,
      origins: main.data.AUTH_ORIGINS ?? [],
      trustedProxies: main.data.TRUSTED_PROXIES ?? [],
      oidc: oidc.success
        ? {
            issuer: oidc.data.OIDC_ISSUER,
            clientId: oidc.data.OIDC_CLIENT_ID,
            clientSecret: oidc.data.OIDC_CLIENT_SECRET,
          }
        : null,
    },
    mail: mailOf(mail.data),
  };
}

function mailOf(data: z.output<typeof mailSchema>): MailConfig {
  return data.MAIL_KIND === 'smtp'
    ? { kind: 'smtp', url: data.SMTP_URL, from: data.MAIL_FROM }
    : { kind: data.MAIL_KIND };
}
