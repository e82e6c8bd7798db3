import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** What an idempotency key is stored as. */
export function hashIdempotencyKey(key: string): Buffer {
  return createHash('sha256').update(`idempotency\n${key}`).digest();
}

/**
 * An answer that only its caller can have again: AES-256-GCM under a key made of the pepper, which
 * the server has, and of the idempotency key, of which it keeps a hash alone. Answers may hold
 * secrets that are shown once.
 */
export function sealAnswer(pepper: string, idempotencyKey: string, answer: string): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', sealingKey(pepper, idempotencyKey), nonce);
  const sealed = Buffer.concat([cipher.update(answer, 'utf8'), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]);
}

/** @throws Error when it was sealed with another key or changed since. */
export function openAnswer(pepper: string, idempotencyKey: string, sealed: Buffer): string {
  const nonce = sealed.subarray(0, NONCE_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', sealingKey(pepper, idempotencyKey), nonce);
  decipher.setAuthTag(sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
  const rest = sealed.subarray(NONCE_BYTES + TAG_BYTES);
  return Buffer.concat([decipher.update(rest), decipher.final()]).toString('utf8');
}

function sealingKey(pepper: string, idempotencyKey: string): Buffer {
  return Buffer.from(hkdfSync('sha256', pepper, '', `idempotent answer\n${idempotencyKey}`, 32));
}
