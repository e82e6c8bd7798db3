import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { readJson, writeJson } from './json-file.ts';

const secretsSchema = z.strictObject({
  /** Key of the HMAC that API keys are stored as. */
  key_pepper: z.string().min(32),
  /** Ed25519 private JWK that signs session tokens. */
  session_signing_jwk: z.record(z.string(), z.string()),
  /** The operator's own key: it creates tenants. */
  platform_key: z.string().min(32),
  /** Signs upload URLs of the object store on disk. */
  store_secret: z.string().min(32),
  /** Seals the secrets that the database keeps: `id:key`. */
  sealing_keys: z.string().min(32),
  /** Signs the cookies and links of people who sign in. */
  auth_secret: z.string().min(32),
  /** Passwords of the database's roles. */
  database: z.strictObject({ app: z.string(), worker: z.string() }),
  /** The development tenant's key, once there is one. */
  dev_key: z.string().optional(),
});
export type Secrets = z.infer<typeof secretsSchema>;

/** The platform's secrets: made at random once, then read from `file`. */
export function loadSecrets(file: string): Secrets {
  // A folder of an earlier version lacks what came later, and has nothing that was made with it.
  const known = readJson(file, secretsSchema.partial({ sealing_keys: true, auth_secret: true }));
  if (known !== undefined) {
    const { sealing_keys = sealingKey(), auth_secret = secret(), ...rest } = known;
    const complete = { ...rest, sealing_keys, auth_secret };
    if (known.sealing_keys === undefined || known.auth_secret === undefined) {
      writeJson(file, complete);
    }
    return complete;
  }
  const secrets: Secrets = {
    key_pepper: secret(),
    session_signing_jwk: signingKey(),
    platform_key: `armp_${secret()}`,
    store_secret: secret(),
    sealing_keys: sealingKey(),
    auth_secret: secret(),
    database: { app: secret(), worker: secret() },
  };
  writeJson(file, secrets);
  return secrets;
}

/** Keeps the development tenant's key with the other secrets. */
export function keepDevKey(file: string, secrets: Secrets, devKey: string): Secrets {
  const kept = { ...secrets, dev_key: devKey };
  writeJson(file, kept);
  return kept;
}

/** A first key of this folder's own. */
function sealingKey(): string {
  return `dev-${randomBytes(4).toString('hex')}:${secret()}`;
}

/** 256 random bits, URL-safe. */
function secret(): string {
  return randomBytes(32).toString('base64url');
}

function signingKey(): Record<string, string> {
  const { privateKey } = generateKeyPairSync('ed25519');
  const jwk = z.record(z.string(), z.string()).parse(privateKey.export({ format: 'jwk' }));
  return { ...jwk, kid: randomBytes(8).toString('hex'), alg: 'EdDSA', use: 'sig' };
}
