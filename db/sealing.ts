import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/** A secret cannot be sealed or opened; the message holds no part of a secret or a key. */
export class SealingError extends Error {
  override readonly name = 'SealingError';
}

const ALGORITHM = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ID = /^[A-Za-z0-9_-]{1,32}$/;
/** Version, id of the key, and nonce, tag and ciphertext in base64url. */
const SEALED = /^s1\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]+)$/;

/**
 * Seals secrets that lie in the database: AES-256-GCM with keys that do not. A sealed secret says which
 * key it was sealed with, and opens for the row that it was sealed for alone.
 */
export class Sealing {
  private readonly keys: ReadonlyMap<string, Buffer>;
  private readonly current: { readonly id: string; readonly key: Buffer };

  private constructor(keys: ReadonlyMap<string, Buffer>, current: Sealing['current']) {
    this.keys = keys;
    this.current = current;
  }

  /**
   * @param text `id:key` pairs, comma-separated, keys being 32 bytes in base64url. The first one seals;
   *   the others open what was sealed before.
   * @throws SealingError
   */
  static of(text: string): Sealing {
    const keys = new Map<string, Buffer>();
    for (const pair of text.split(',')) {
      const [id = '', encoded = '', ...rest] = pair.trim().split(':');
      const key = Buffer.from(encoded, 'base64url');
      if (!KEY_ID.test(id) || key.length !== KEY_BYTES || rest.length > 0) {
        throw new SealingError('each key must be id:key, the key being 32 bytes in base64url');
      }
      if (keys.has(id)) throw new SealingError(`two keys have the id ${id}`);
      keys.set(id, key);
    }
    const [first] = keys;
    if (first === undefined) throw new SealingError('there is no key');
    return new Sealing(keys, { id: first[0], key: first[1] });
  }

  /** @param owner what the secret belongs to, e.g. tenant and row: opening asks for the same. */
  seal(secret: string, owner: string): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(ALGORITHM, this.current.key, nonce);
    cipher.setAAD(Buffer.from(owner));
    const body = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
    const sealed = Buffer.concat([nonce, cipher.getAuthTag(), body]);
    return `s1.${this.current.id}.${sealed.toString('base64url')}`;
  }

  /** @throws SealingError where the key is not configured, or it was sealed for another owner. */
  open(sealed: string, owner: string): string {
    const [, id, encoded] = SEALED.exec(sealed) ?? [];
    if (id === undefined || encoded === undefined) throw new SealingError('it is not sealed');
    const key = this.keys.get(id);
    if (key === undefined) {
      throw new SealingError(`it was sealed with the key ${id}, which is not configured`);
    }
    const bytes = Buffer.from(encoded, 'base64url');
    if (bytes.length < NONCE_BYTES + TAG_BYTES) throw new SealingError('it is cut short');
    const decipher = createDecipheriv(ALGORITHM, key, bytes.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(Buffer.from(owner));
    decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
    try {
      const body = bytes.subarray(NONCE_BYTES + TAG_BYTES);
      return Buffer.concat([decipher.update(body), decipher.final()]).toString('utf8');
    } catch (error) {
      throw new SealingError(`it does not open with the key ${id}: changed, or another's`, {
        cause: error,
      });
    }
  }

  /** Whether it was sealed with the key that seals now. */
  isCurrent(sealed: string): boolean {
    return SEALED.exec(sealed)?.[1] === this.current.id;
  }
}

/** Whose a webhook's secrets are. */
export const webhookOwner = (tenantId: string, endpointId: string): string =>
  `webhook ${tenantId} ${endpointId}`;
