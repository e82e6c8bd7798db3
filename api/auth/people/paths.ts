/** Path of signing in beneath the public URL. */
export const AUTH_PATH = '/auth';

/** Id of the one OpenID provider, in paths and rows. */
export const OIDC = 'oidc';

/** Name of the cookie of a sign-in. */
export function cookieName(baseUrl: string): string {
  return `${isSecure(baseUrl) ? '__Secure-' : ''}armature.session_token`;
}

export function isSecure(url: string): boolean {
  return new URL(url).protocol === 'https:';
}
