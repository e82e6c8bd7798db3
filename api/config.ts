import { storeConfigFromEnv, type StoreConfig } from '@armature/storage';

import { z } from 'zod';
import type { JWK } from './auth/session-tokens.ts';

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

const envSchema = z.object({
  HOST: z.string().default('127.0.0.1'),
  /** 0 takes a free port. */
  PORT: z.coerce.number().int().min(0).max(65_535),
  /** Base URL under which robots and clients reach this process. */
  PUBLIC_URL: z.url(),
  DATABASE_URL: z.string().min(1),
  DATABASE_POOL: z.coerce.number().int().min(1).max(200).default(10),
  KEY_PEPPER: z.string().min(32),
  /** `id:key` pairs: the first seals what the database keeps, the others open what was sealed before. */
  SEALING_KEYS: z.string().min(1),
  PLATFORM_KEY: z.string().min(32),
  SESSION_SIGNING_JWK: jwk,
  /** Public JWKs published beside the signing one, as a JSON list. */
  SESSION_ALSO_PUBLISHED_JWKS: jwks.optional(),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
});

export interface Config {
  env: z.output<typeof envSchema>;
  store: StoreConfig;
}

/** The process's settings. @throws Error naming each variable that is missing or wrong. */
export function readConfig(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Config {
  const parsed = envSchema.safeParse(env);
  if (!parsed.success) {
    const lines = parsed.error.issues.map(
      ({ path, message }) => `${path.map(String).join('.')}: ${message}`,
    );
    throw new Error(`the environment is not complete:\n${lines.join('\n')}`);
  }
  return { env: parsed.data, store: storeConfigFromEnv(env) };
}
