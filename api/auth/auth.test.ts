import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { sessionClaimsSchema, type SessionClaims } from '@armature/sdk/contract';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { describe, expect, it } from 'vitest';
import { armSpec } from '../../test/support/robots.ts';
import { hashKey, isWellFormed, newApiKey, startOf } from './api-key.ts';
import { Authenticator, type FoundKey } from './authenticator.ts';
import { sessionTokens } from './session-tokens.ts';

const pepper = 'a pepper of more than thirty-two letters';
const platformKey = 'the operators key, also longer than that';

describe('API keys', () => {
  it('are all different, well formed and recognisable', () => {
    const keys = Array.from({ length: 200 }, newApiKey);
    expect(new Set(keys).size).toBe(200);
    for (const key of keys) {
      expect(key).toMatch(/^ark_v1_[A-Za-z0-9_-]{43}[0-9a-f]{8}$/);
      expect(isWellFormed(key)).toBe(true);
      expect(key.startsWith(startOf(key))).toBe(true);
      expect(startOf(key)).toHaveLength(13);
    }
  });

  it('show a mistyped or cut letter without a look-up', () => {
    const key = newApiKey();
    for (let i = 0; i < key.length; i++) {
      const other = key.charAt(i) === 'x' ? 'y' : 'x';
      expect(isWellFormed(key.slice(0, i) + other + key.slice(i + 1))).toBe(false);
      expect(isWellFormed(key.slice(0, i))).toBe(false);
    }
  });

  it('are stored as something that needs the pepper', () => {
    const key = newApiKey();
    expect(hashKey(pepper, key)).toHaveLength(32);
    expect(hashKey(pepper, key).equals(hashKey(`${pepper}!`, key))).toBe(false);
  });
});

describe('the authenticator', () => {
  const world = (found: FoundKey | null) => {
    const state = { now: 1_000_000, lookUps: 0, found };
    const authenticator = new Authenticator({
      pepper,
      platformKey,
      clock: () => new Date(state.now),
      ttlMs: 5_000,
      capacity: 3,
      find: async () => {
        state.lookUps++;
        return state.found;
      },
    });
    return { state, authenticator };
  };
  const known: FoundKey = {
    id: 'key_1',
    tenantId: 'ten_1',
    scopes: ['read'],
    expiresAt: null,
    revokedAt: null,
  };

  it('looks one key up once for many calls, known or not, until the look-up is old', async () => {
    for (const found of [known, null]) {
      const { state, authenticator } = world(found);
      const header = `Bearer ${newApiKey()}`;
      const answers = await Promise.allSettled(
        Array.from({ length: 50 }, () => authenticator.authenticate(header)),
      );
      expect(answers.every(({ status }) => status === (found ? 'fulfilled' : 'rejected'))).toBe(
        true,
      );
      expect(state.lookUps).toBe(1);
      state.now += 5_001;
      await Promise.allSettled([authenticator.authenticate(header)]);
      expect(state.lookUps).toBe(2);
    }
  });

  it('looks nothing up for what cannot be a key', async () => {
    const { state, authenticator } = world(known);
    for (const header of ['Bearer nonsense', 'Basic abc', 'Bearer', `Bearer ${newApiKey()}0`]) {
      await expect(authenticator.authenticate(header)).rejects.toMatchObject({
        code: 'invalid_key',
      });
    }
    await expect(authenticator.authenticate(undefined)).rejects.toMatchObject({
      code: 'missing_key',
    });
    expect(state.lookUps).toBe(0);
  });

  it('sees a key expire while the look-up is fresh', async () => {
    const { state, authenticator } = world({ ...known, expiresAt: new Date(1_001_000) });
    const header = `Bearer ${newApiKey()}`;
    await authenticator.authenticate(header);
    state.now = 1_001_000;
    await expect(authenticator.authenticate(header)).rejects.toMatchObject({ code: 'expired_key' });
    expect(state.lookUps).toBe(1);
  });

  it('forgets a key that is revoked here', async () => {
    const { state, authenticator } = world(known);
    const header = `Bearer ${newApiKey()}`;
    await authenticator.authenticate(header);
    state.found = { ...known, revokedAt: new Date() };
    await authenticator.forget('key_1');
    await expect(authenticator.authenticate(header)).rejects.toMatchObject({ code: 'invalid_key' });
  });

  it('does not remember a look-up that failed', async () => {
    let attempts = 0;
    const authenticator = new Authenticator({
      pepper,
      platformKey,
      clock: () => new Date(),
      find: async () => {
        if (attempts++ === 0) throw new Error('the database is away');
        return known;
      },
    });
    const header = `Bearer ${newApiKey()}`;
    await expect(authenticator.authenticate(header)).rejects.toThrow('away');
    await expect(authenticator.authenticate(header)).resolves.toMatchObject({ tenantId: 'ten_1' });
  });

  it('keeps no more look-ups than its capacity', async () => {
    const { state, authenticator } = world(known);
    const headers = Array.from({ length: 4 }, () => `Bearer ${newApiKey()}`);
    for (const header of headers) await authenticator.authenticate(header);
    await authenticator.authenticate(headers[0]);
    expect(state.lookUps).toBe(5);
  });
});

describe('session tokens', () => {
  const { privateKey } = generateKeyPairSync('ed25519');
  const jwk = { ...privateKey.export({ format: 'jwk' }), kid: 'k1' };
  const claims: SessionClaims = {
    sub: 'ses_1',
    tenant: 'ten_1',
    robot: 'r1',
    worker: 'serve-1',
    embodiment: { id: 'emb_1', spec: armSpec },
    policy: { version_id: 'pv_1', digest: 'd', prefix: 'p/' },
    reasoning: { when: 'every_chunk' },
    epoch: 3,
    limits: { max_in_flight: 4, max_hz: 30 },
  };

  it('verify with the published key, for the workers, for ten minutes', async () => {
    const tokens = await sessionTokens(jwk);
    const now = new Date('2026-01-01T00:00:00Z');
    const { token, expiresAt } = await tokens.issue(claims, now);
    expect(expiresAt.toISOString()).toBe('2026-01-01T00:10:00.000Z');
    const accept = { audience: 'armature-workers', issuer: 'armature', algorithms: ['EdDSA'] };
    const keys = createLocalJWKSet(tokens.jwks);
    const at = (minutes: number) => ({
      ...accept,
      typ: 'armature-session+jwt',
      currentDate: new Date(now.getTime() + minutes * 60_000),
    });
    const { payload } = await jwtVerify(token, keys, at(9));
    expect(sessionClaimsSchema.parse(payload)).toEqual(claims);
    expect(payload).not.toHaveProperty('sampler');
    await expect(jwtVerify(token, keys, at(10.1))).rejects.toThrow(/exp/);

    const [head = '', body = '', signature = ''] = token.split('.');
    const publicKey = createPublicKey({ key: jwk, format: 'jwk' });
    const signed = Buffer.from(`${head}.${body}`);
    expect(verify(null, signed, publicKey, Buffer.from(signature, 'base64url'))).toBe(true);
  });

  it('publish no private part, and refuse keys that cannot be told apart', async () => {
    const tokens = await sessionTokens(jwk);
    expect(Object.keys(tokens.jwks.keys[0] ?? {}).sort()).toEqual(
      ['alg', 'crv', 'kid', 'kty', 'use', 'x'].sort(),
    );
    await expect(sessionTokens(jwk, [jwk])).rejects.toThrow(/same kid/);
    await expect(sessionTokens({ ...jwk, kid: '' })).rejects.toThrow(/kid/);
    const { publicKey } = generateKeyPairSync('ed25519');
    await expect(
      sessionTokens({ ...publicKey.export({ format: 'jwk' }), kid: 'k' }),
    ).rejects.toThrow(/private/);
  });
});
