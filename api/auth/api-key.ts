import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

const PREFIXES = { key: 'ark_v1_', invitation: 'ari_v1_' } as const;
const PREFIX_LENGTH = PREFIXES.key.length;
const SECRET_LENGTH = 43;
const CHECKSUM_LENGTH = 8;
/** Kinds of secrets that a caller shows. */
export type SecretKind = keyof typeof PREFIXES;

const KEY = /^ar[ki]_v1_[A-Za-z0-9_-]{43}[0-9a-f]{8}$/;

/** Characters of a key that are kept and shown, so that a person recognises it. */
const START_LENGTH = PREFIX_LENGTH + 6;

/** `ark_v1_`, 256 random bits in base64url, 8 hexadecimal digits of checksum; invitations `ari_v1_`. */
export function newApiKey(kind: SecretKind = 'key'): string {
  const body = PREFIXES[kind] + randomBytes(32).toString('base64url');
  return body + checksum(body);
}

/** What a well-formed secret is, by its prefix. */
export function kindOf(key: string): SecretKind {
  return key.startsWith(PREFIXES.invitation) ? 'invitation' : 'key';
}

/** Whether this can be a key or an invitation at all: one that is mistyped or cut costs no look-up. */
export function isWellFormed(key: string): boolean {
  if (!KEY.test(key)) return false;
  const body = key.slice(0, PREFIX_LENGTH + SECRET_LENGTH);
  return checksum(body) === key.slice(body.length);
}

export function startOf(key: string): string {
  return key.slice(0, START_LENGTH);
}

/** What is stored of a key: 32 bytes that are worth nothing without the pepper. */
export function hashKey(pepper: string, key: string): Buffer {
  return createHmac('sha256', pepper).update(key).digest();
}

/** Compares two secrets of any length in constant time. */
export function sameSecret(pepper: string, a: string, b: string): boolean {
  return timingSafeEqual(hashKey(pepper, a), hashKey(pepper, b));
}

function checksum(body: string): string {
  return createHash('sha256').update(body).digest('hex').slice(0, CHECKSUM_LENGTH);
}
