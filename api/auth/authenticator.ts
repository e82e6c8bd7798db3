import { ArmatureError, type Need, type Person } from '@armature/sdk/contract';
import { hashKey, isWellFormed, kindOf, sameSecret, type SecretKind } from './api-key.ts';

/** What a credential of a tenant is good for. */
export type Grant = Exclude<Need, 'platform' | 'person'>;

/** A key or an invitation as it is found by its hash. */
export interface FoundKey {
  id: string;
  tenantId: string;
  scopes: readonly Grant[];
  expiresAt: Date | null;
  revokedAt: Date | null;
}

/** A tenant by one of its keys or invitations, or the operator. */
export type KeyActor =
  { kind: 'key'; tenantId: string; keyId: string; scopes: readonly Grant[] } | { kind: 'platform' };

/** Who calls: who shows a key, or a person who is signed in, as a member of a tenant or as nobody's. */
export type Actor =
  | KeyActor
  | { kind: 'member'; tenantId: string; memberId: string; scopes: readonly Grant[] }
  | { kind: 'person'; person: Person };

/** How long a look-up is believed, ms: the longest that a key works elsewhere after it was revoked. */
export const LOOK_UP_MS = 5_000;

export interface AuthenticatorOptions {
  pepper: string;
  platformKey: string;
  find: (kind: SecretKind, hash: Buffer) => Promise<FoundKey | null>;
  clock: () => Date;
  /** In place of `LOOK_UP_MS`. */
  ttlMs?: number;
  /** Look-ups kept, of keys that exist and of keys that do not. */
  capacity?: number;
}

interface Entry {
  found: Promise<FoundKey | null>;
  until: number;
}

/** Turns an Authorization header into an actor; look-ups are shared, cached and bounded. */
export class Authenticator {
  private readonly options: Required<AuthenticatorOptions>;
  private readonly entries = new Map<string, Entry>();

  constructor(options: AuthenticatorOptions) {
    this.options = { ttlMs: LOOK_UP_MS, capacity: 10_000, ...options };
  }

  /** @throws ArmatureError `missing_key`, `invalid_key` or `expired_key`. */
  async authenticate(authorization: string | undefined): Promise<KeyActor> {
    if (authorization === undefined || authorization === '') {
      throw refusal(
        'missing_key',
        'the request has no API key',
        'Send Authorization: Bearer <key>.',
      );
    }
    const key = /^Bearer +(\S+) *$/i.exec(authorization)?.[1];
    if (key === undefined) {
      throw refusal(
        'invalid_key',
        'the authorization header is no bearer key',
        'Send Authorization: Bearer <key>.',
      );
    }
    const { pepper, platformKey, clock } = this.options;
    if (sameSecret(pepper, key, platformKey)) return { kind: 'platform' };
    const found = isWellFormed(key) ? await this.lookUp(kindOf(key), hashKey(pepper, key)) : null;
    const what = kindOf(key) === 'invitation' ? 'invitation' : 'API key';
    if (found === null) {
      throw refusal('invalid_key', `the ${what} is not known`, 'Check it for missing letters.');
    }
    if (found.revokedAt !== null) {
      throw refusal('invalid_key', `the ${what} was revoked`, 'Use another one.');
    }
    if (found.expiresAt !== null && found.expiresAt <= clock()) {
      throw refusal('expired_key', `the ${what} has expired`, 'Have a new one made.');
    }
    const { id: keyId, tenantId, scopes } = found;
    return { kind: 'key', tenantId, keyId, scopes };
  }

  /** Forgets a key or an invitation that has just been revoked here. */
  async forget(keyId: string): Promise<void> {
    for (const [hash, entry] of this.entries) {
      const found = await entry.found;
      if (found?.id === keyId) this.entries.delete(hash);
    }
  }

  private lookUp(kind: SecretKind, hash: Buffer): Promise<FoundKey | null> {
    const name = hash.toString('base64');
    const now = this.options.clock().getTime();
    const known = this.entries.get(name);
    if (known !== undefined && known.until > now) return known.found;
    this.entries.delete(name);
    if (this.entries.size >= this.options.capacity) {
      const [oldest] = this.entries.keys();
      if (oldest !== undefined) this.entries.delete(oldest);
    }
    const entry = { found: this.options.find(kind, hash), until: now + this.options.ttlMs };
    this.entries.set(name, entry);
    entry.found.catch(() => {
      if (this.entries.get(name) === entry) this.entries.delete(name);
    });
    return entry.found;
  }
}

const IMPLIED: Readonly<Record<Grant, readonly Grant[]>> = {
  admin: ['admin', 'write', 'read', 'robot'],
  write: ['write', 'read'],
  read: ['read'],
  robot: ['robot'],
  invitation: ['invitation'],
};

/**
 * Whether the actor may do what needs `scope`: `admin` is everything, `write` includes `read`; the
 * operator's key does the operator's verbs and nothing of a tenant's; an invitation is accepted and
 * nothing else, by itself alone; `person` is somebody who is signed in and no key.
 * @throws ArmatureError `forbidden`.
 */
export function requireScope(actor: Actor, scope: Need): void {
  if (scope === 'person') {
    if (actor.kind === 'person') return;
    throw forbidden('only a person who is signed in may do this', 'Sign in, and send no key.');
  }
  if (actor.kind === 'platform') {
    if (scope === 'platform') return;
    throw forbidden('the operator’s key reaches no tenant’s resources', 'Use a key of the tenant.');
  }
  if (scope === 'platform') {
    throw forbidden('only the operator’s key may do this', 'Ask the operator of the platform.');
  }
  const held = actor.kind === 'person' ? [] : actor.scopes;
  if (held.some((one) => IMPLIED[one].includes(scope))) return;
  if (scope === 'invitation') {
    throw forbidden('only an invitation may do this', 'Send the invitation in the key’s place.');
  }
  if (held.includes('invitation')) {
    throw forbidden('an invitation can be accepted and nothing else', 'Use a key of the tenant.');
  }
  if (actor.kind === 'key') {
    throw forbidden(
      `the API key lacks the scope ${scope}`,
      `Use a key with the scope ${scope}, or have an admin make one.`,
    );
  }
  throw forbidden(`your role lacks the scope ${scope}`, 'Ask an owner of the tenant.');
}

function forbidden(message: string, fix: string): ArmatureError {
  return new ArmatureError('forbidden', message, { field: 'authorization', fix });
}

function refusal(
  code: 'missing_key' | 'invalid_key' | 'expired_key',
  message: string,
  fix: string,
): ArmatureError {
  return new ArmatureError(code, message, { field: 'authorization', fix });
}
