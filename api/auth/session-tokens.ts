import { randomUUID } from 'node:crypto';
import {
  SESSION_TOKEN_ALGORITHM,
  SESSION_TOKEN_AUDIENCE,
  SESSION_TOKEN_ISSUER,
  SESSION_TOKEN_TYPE,
  type SessionClaims,
} from '@armature/sdk/contract';
import { exportJWK, importJWK, SignJWT, type JWK } from 'jose';

export type { JWK } from 'jose';

/** Life of a session token in seconds, unless told otherwise. */
export const SESSION_TOKEN_LIFE_S = 600;

export interface IssuedToken {
  token: string;
  expiresAt: Date;
}

export interface SessionTokens {
  /** Signs the claims; valid from `now` for the life of a token. */
  issue(claims: SessionClaims, now: Date): Promise<IssuedToken>;
  /** The public keys, for /.well-known/jwks.json. */
  readonly jwks: { keys: JWK[] };
}

/**
 * Tokens signed with an Ed25519 private JWK that has a `kid`. `alsoPublished` are public JWKs beside
 * it: the next key before it signs, the last one until its tokens have expired.
 * @throws Error for a key of another kind or without `kid`, or a `kid` that is there twice.
 */
export async function sessionTokens(
  signing: JWK,
  alsoPublished: readonly JWK[] = [],
  lifeS: number = SESSION_TOKEN_LIFE_S,
): Promise<SessionTokens> {
  const { kid } = signing;
  if (signing.kty !== 'OKP' || signing.crv !== 'Ed25519' || signing.d === undefined) {
    throw new Error('the signing key must be an Ed25519 private JWK');
  }
  if (kid === undefined || kid === '') throw new Error('the signing key needs a kid');
  const key = await importJWK(signing, SESSION_TOKEN_ALGORITHM);
  const published = [signing, ...alsoPublished].map(publicPart);
  if (new Set(published.map((jwk) => jwk.kid)).size !== published.length) {
    throw new Error('two published keys have the same kid');
  }
  await Promise.all(published.map(async (jwk) => exportJWK(await importJWK(jwk))));
  return {
    jwks: { keys: published },
    issue: async (claims, now) => {
      const issuedAt = Math.floor(now.getTime() / 1000);
      const expires = issuedAt + lifeS;
      const { sub, ...rest } = claims;
      const token = await new SignJWT({ ...rest })
        .setProtectedHeader({ alg: SESSION_TOKEN_ALGORITHM, typ: SESSION_TOKEN_TYPE, kid })
        .setSubject(sub)
        .setIssuer(SESSION_TOKEN_ISSUER)
        .setAudience(SESSION_TOKEN_AUDIENCE)
        .setIssuedAt(issuedAt)
        .setExpirationTime(expires)
        .setJti(randomUUID())
        .sign(key);
      return { token, expiresAt: new Date(expires * 1000) };
    },
  };
}

function publicPart({ kty, crv, x, kid }: JWK): JWK {
  if (kty === undefined || crv === undefined || x === undefined || kid === undefined) {
    throw new Error('a published key needs kty, crv, x and kid');
  }
  return { kty, crv, x, kid, alg: SESSION_TOKEN_ALGORITHM, use: 'sig' };
}
