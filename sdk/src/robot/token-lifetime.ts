import type { SessionGrant } from '../../contract/index.ts';
import { parseJson } from '../answers.ts';

/**
 * How long a grant's token lives from when it was handed out, ms. Taken from the token's own `exp`
 * and `iat`, so that a robot whose clock is wrong renews it in time; by the clock where the token
 * does not say.
 * @param now ms since the Unix epoch on this machine.
 */
export function tokenLifetimeMs(grant: SessionGrant, now: number): number {
  const payload = grant.token.split('.')[1];
  const claims = payload === undefined ? undefined : parseJson(decodeBase64Url(payload));
  if (typeof claims === 'object' && claims !== null && 'exp' in claims && 'iat' in claims) {
    const { exp, iat } = claims;
    if (typeof exp === 'number' && typeof iat === 'number' && exp > iat) return (exp - iat) * 1000;
  }
  return Math.max(0, Date.parse(grant.token_expires_at) - now);
}

function decodeBase64Url(text: string): string {
  if (!/^[\w-]*$/.test(text)) return '';
  const padded = text.replaceAll('-', '+').replaceAll('_', '/');
  return padded.length % 4 === 1 ? '' : atob(padded);
}
