import { createHmac, generateKeyPairSync, randomUUID, type KeyObject } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ArmatureError, type SessionClaims } from '@armature/sdk/contract';
import { SignJWT, type JWK } from 'jose';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { sessionTokens, type SessionTokens } from '../api/auth/session-tokens.ts';
import { tokenVerifier, type TokenVerifier } from '../workers/serve/gateway/session-token.ts';
import { armSpec } from './support/robots.ts';

const MINUTE_MS = 60_000;
const claims: SessionClaims = {
  sub: 'ses_1',
  tenant: 'ten_1',
  robot: 'r1',
  worker: 'serve-1',
  embodiment: { id: 'emb_1', spec: armSpec },
  policy: { version_id: 'pv_1', digest: 'd', prefix: 'p/' },
  reasoning: { when: 'every_chunk' },
  epoch: 0,
  limits: { max_in_flight: 4, max_hz: 30 },
};

interface Pair {
  jwk: JWK;
  privateKey: KeyObject;
}
function pair(kid: string): Pair {
  const { privateKey } = generateKeyPairSync('ed25519');
  return { jwk: { ...privateKey.export({ format: 'jwk' }), kid }, privateKey };
}

/** The published set, which the test changes, and how often it was asked for. */
let published: { keys: JWK[] };
let asked: number;
let server: Server;
let verify: TokenVerifier;
beforeEach(async () => {
  asked = 0;
  server = createServer((_request, answer) => {
    asked += 1;
    answer.setHeader('content-type', 'application/json');
    answer.end(JSON.stringify(published));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  verify = tokenVerifier(`http://127.0.0.1:${port}/.well-known/jwks.json`);
});
afterEach(async () => {
  vi.useRealTimers();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const codeOf = async (token: string): Promise<string> =>
  verify(token).then(
    () => 'accepted',
    (error: unknown) => (error instanceof ArmatureError ? error.code : String(error)),
  );

describe('a session token', () => {
  it('is nothing but what the control plane signed, of its type, for this audience', async () => {
    const key = pair('k1');
    const tokens = await sessionTokens(key.jwk);
    published = tokens.jwks;
    const { token } = await tokens.issue(claims, new Date());
    expect(await codeOf(token)).toBe('accepted');

    const [head = '', body = '', signature = ''] = token.split('.');
    const part = (value: object): string =>
      Buffer.from(JSON.stringify(value)).toString('base64url');
    const header = { typ: 'armature-session+jwt', kid: 'k1' };
    const none = `${part({ ...header, alg: 'none' })}.${body}.`;
    // The public key as the secret of an HMAC: a verifier that lets the token choose takes it.
    const text = `${part({ ...header, alg: 'HS256' })}.${body}`;
    const publicKey = Buffer.from(key.jwk.x ?? '', 'base64url');
    const confused = `${text}.${createHmac('sha256', publicKey).update(text).digest('base64url')}`;
    const raised = { ...JSON.parse(Buffer.from(body, 'base64url').toString()), tenant: 'ten_2' };
    const changed = `${head}.${part(raised as object)}.${signature}`;
    const sign = (
      by: Pair,
      change: {
        typ?: string;
        aud?: string;
        iss?: string;
        kid?: string;
        jti?: string | null;
        life?: string;
      },
    ): Promise<string> => {
      const jwt = new SignJWT({ ...claims })
        .setProtectedHeader({
          alg: 'EdDSA',
          kid: change.kid ?? 'k1',
          typ: change.typ ?? header.typ,
        })
        .setSubject('ses_1')
        .setAudience(change.aud ?? 'armature-workers')
        .setIssuer(change.iss ?? 'armature')
        .setIssuedAt()
        .setExpirationTime(change.life ?? '10m');
      if (change.jti !== null) jwt.setJti(randomUUID());
      return jwt.sign(by.privateKey);
    };
    expect(await codeOf(await sign(key, {}))).toBe('accepted');
    const wrong: Record<string, string> = {
      none,
      confused,
      changed,
      'of a stranger': await sign(pair('k1'), {}),
      'of another type': await sign(key, { typ: 'JWT' }),
      'for an upload': await sign(key, { typ: 'armature-upload+jwt' }),
      'for the dashboard': await sign(key, { aud: 'armature-dashboard' }),
      'of another issuer': await sign(key, { iss: 'elsewhere' }),
      'for a year': await sign(key, { life: '1y' }),
      'without an id': await sign(key, { jti: null }),
      'an API key': `ark_v1_${'a'.repeat(51)}`,
      nothing: '',
    };
    for (const [what, other] of Object.entries(wrong)) {
      expect([what, await codeOf(other)]).toEqual([what, 'invalid_token']);
    }
    const old = await tokens.issue(claims, new Date(Date.now() - 11 * MINUTE_MS));
    expect(await codeOf(old.token)).toBe('expired_token');
  });

  it('with an unknown key id costs the control plane one question, however many come', async () => {
    const tokens = await sessionTokens(pair('k1').jwk);
    published = tokens.jwks;
    const { token } = await tokens.issue(claims, new Date());
    await verify(token);
    const strangers = await Promise.all(
      Array.from({ length: 200 }, async (_, n) => {
        const stranger = await sessionTokens(pair(`unknown-${n % 20}`).jwk);
        return (await stranger.issue(claims, new Date())).token;
      }),
    );
    const before = asked;
    const codes = await Promise.all(strangers.map(codeOf));
    expect(new Set(codes)).toEqual(new Set(['invalid_token']));
    expect(asked - before).toBeLessThanOrEqual(1);
    expect(await codeOf(token)).toBe('accepted');
  });

  it('is never refused while the signing key is changed as the README says', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const start = Date.now();
    const [old, next] = [pair('old'), pair('next')];
    const publicOf = ({ jwk: { d: _, ...rest } }: Pair): JWK => rest;
    const before = await sessionTokens(old.jwk);
    const announced = await sessionTokens(old.jwk, [publicOf(next)]);
    const switched = await sessionTokens(next.jwk, [publicOf(old)]);
    const after = await sessionTokens(next.jwk);
    // Fifteen minutes each: longer than the cached set and than a token lives.
    const phases: SessionTokens[] = [before, announced, switched, after];
    const live: { token: string; until: number }[] = [];
    let accepted = 0;
    for (let minute = 0; minute < 60; minute += 1) {
      vi.setSystemTime(start + minute * MINUTE_MS);
      const tokens = phases[Math.floor(minute / 15)];
      if (tokens === undefined) throw new Error('no such phase');
      published = tokens.jwks;
      const { token, expiresAt } = await tokens.issue(claims, new Date());
      live.push({ token, until: expiresAt.getTime() });
      for (const one of live) {
        if (one.until <= Date.now()) continue;
        expect([minute, await codeOf(one.token)]).toEqual([minute, 'accepted']);
        accepted += 1;
      }
    }
    expect(accepted).toBeGreaterThan(500);
    expect(asked).toBeLessThan(10);
    const { token } = await before.issue(claims, new Date());
    expect(await codeOf(token)).toBe('invalid_token');
  });
});
