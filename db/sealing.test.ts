import { createDecipheriv, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Sealing, SealingError } from './sealing.ts';

const key = (id: string) => `${id}:${randomBytes(32).toString('base64url')}`;

describe('Sealing', () => {
  it('gives back what it sealed, to the same owner alone', () => {
    const sealing = Sealing.of(key('k1'));
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme' }),
        fc.string(),
        fc.string(),
        (secret, owner, other) => {
          const sealed = sealing.seal(secret, owner);
          expect(sealing.open(sealed, owner)).toBe(secret);
          if (other !== owner) expect(() => sealing.open(sealed, other)).toThrow(SealingError);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('is AES-256-GCM as node has it, with a nonce of its own each time', () => {
    const bytes = randomBytes(32);
    const sealing = Sealing.of(`k:${bytes.toString('base64url')}`);
    const [one, two] = [sealing.seal('a secret', 'me'), sealing.seal('a secret', 'me')];
    expect(one).not.toBe(two);
    const sealed = Buffer.from(one.split('.')[2] ?? '', 'base64url');
    const decipher = createDecipheriv('aes-256-gcm', bytes, sealed.subarray(0, 12));
    decipher.setAAD(Buffer.from('me')).setAuthTag(sealed.subarray(12, 28));
    expect(decipher.update(sealed.subarray(28), undefined, 'utf8')).toBe('a secret');
    decipher.final();
  });

  it('opens nothing that was changed, anywhere', () => {
    const sealing = Sealing.of(key('k1'));
    const [version, id, body = ''] = sealing.seal('a secret', 'me').split('.');
    const bytes = Buffer.from(body, 'base64url');
    for (let i = 0; i < bytes.length; i++) {
      const changed = Buffer.from(bytes);
      changed[i] = (changed[i] ?? 0) ^ 1;
      const text = [version, id, changed.toString('base64url')].join('.');
      expect(() => sealing.open(text, 'me')).toThrow(SealingError);
    }
    for (const text of ['', 'a secret', 's1.k1.AA', `s2.k1.${body}`]) {
      expect(() => sealing.open(text, 'me')).toThrow(SealingError);
    }
  });

  it('goes on opening what an earlier key sealed, while that is configured', () => {
    const [old, next] = [key('old'), key('next')];
    const sealed = Sealing.of(old).seal('a secret', 'me');
    const rotated = Sealing.of(`${next}, ${old}`);
    expect(rotated.open(sealed, 'me')).toBe('a secret');
    expect([rotated.isCurrent(sealed), rotated.isCurrent(rotated.seal('b', 'me'))]).toEqual([
      false,
      true,
    ]);
    expect(() => Sealing.of(next).open(sealed, 'me')).toThrow(
      'sealed with the key old, which is not configured',
    );
  });

  it.each([
    '',
    'k1',
    'k1:',
    'k1:c2hvcnQ',
    `:${randomBytes(32).toString('base64url')}`,
    `k 1:${randomBytes(32).toString('base64url')}`,
    `${key('k1')},${key('k1')}`,
    `${key('k1')},`,
  ])('refuses the keys %j without showing them', (text) => {
    let thrown: unknown;
    try {
      Sealing.of(text);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(SealingError);
    const shown = text.split(/[:,]/).filter((part) => part.length > 20);
    for (const part of shown) expect(String(thrown)).not.toContain(part);
  });
});
