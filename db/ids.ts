import { randomBytes } from 'node:crypto';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

export type IdPrefix =
  | 'ten'
  | 'key'
  | 'mem'
  | 'inv'
  | 'emb'
  | 'ds'
  | 'ft'
  | 'job'
  | 'pv'
  | 'ses'
  | 'aud'
  | 'wh'
  | 'whd'
  | IdentityPrefix;

/** Of people who sign in: a person, an account, a sign-in, a verification. */
export type IdentityPrefix = 'per' | 'acc' | 'sgn' | 'ver';

/**
 * A new id: the prefix, 10 characters of the time in ms and 16 of chance (80 bits), in Crockford's
 * base 32. Ids of one prefix sort by the time of their making.
 */
export function newId(prefix: IdPrefix, now: number = Date.now()): string {
  let time = now;
  let text = '';
  for (let i = 0; i < 10; i++) {
    text = ALPHABET.charAt(time % 32) + text;
    time = Math.floor(time / 32);
  }
  for (const byte of randomBytes(16)) text += ALPHABET.charAt(byte & 31);
  return `${prefix}_${text}`;
}
