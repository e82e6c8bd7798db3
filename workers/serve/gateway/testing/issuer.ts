import { createServer } from 'node:http';
import { once } from 'node:events';
import {
  SESSION_TOKEN_AUDIENCE,
  SESSION_TOKEN_ISSUER,
  SESSION_TOKEN_TYPE,
  type SessionClaims,
} from '@armature/sdk/contract';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';

export interface TokenOverrides {
  readonly typ?: string;
  readonly aud?: string;
  readonly iss?: string;
  readonly kid?: string;
  /** Seconds from now, negative for the past. */
  readonly expiresIn?: number;
  readonly withoutJti?: boolean;
}

/** A control plane's keys: a real HTTP server with the key set, and tokens signed with it. */
export async function startIssuer() {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid: 'key-1', alg: 'EdDSA', use: 'sig' };
  const counters = { fetches: 0 };
  const state = { up: true };
  const server = createServer((_, response) => {
    counters.fetches += 1;
    response.writeHead(state.up ? 200 : 500, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ keys: [jwk] }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');

  const unsigned = (claims: SessionClaims, over: TokenOverrides) => {
    const { sub, ...payload } = claims;
    const jwt = new SignJWT({ ...payload })
      .setSubject(sub)
      .setIssuer(over.iss ?? SESSION_TOKEN_ISSUER)
      .setAudience(over.aud ?? SESSION_TOKEN_AUDIENCE)
      .setIssuedAt()
      .setExpirationTime(Math.floor(Date.now() / 1000) + (over.expiresIn ?? 600));
    return over.withoutJti === true ? jwt : jwt.setJti('jti-1');
  };
  const header = (alg: string, over: TokenOverrides) => ({
    alg,
    kid: over.kid ?? 'key-1',
    typ: over.typ ?? SESSION_TOKEN_TYPE,
  });

  return {
    jwksUrl: `http://127.0.0.1:${address.port}/jwks.json`,
    counters,
    state,
    sign: (claims: SessionClaims, over: TokenOverrides = {}) =>
      unsigned(claims, over).setProtectedHeader(header('EdDSA', over)).sign(privateKey),
    /** Signed with the public key's bytes as a shared secret. */
    signHs256: (claims: SessionClaims) =>
      unsigned(claims, {})
        .setProtectedHeader(header('HS256', {}))
        .sign(new TextEncoder().encode(JSON.stringify(jwk).padEnd(64))),
    /** Signed with a key of another, like-named issuer. */
    signForged: async (claims: SessionClaims) =>
      unsigned(claims, {})
        .setProtectedHeader(header('EdDSA', {}))
        .sign((await generateKeyPair('EdDSA')).privateKey),
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

export type Issuer = Awaited<ReturnType<typeof startIssuer>>;
