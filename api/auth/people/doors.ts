import { z } from 'zod';
import type { byAddress } from './limits.ts';
import { OIDC } from './paths.ts';

/** One path of the library that is let through. */
export interface Door {
  readonly method: 'GET' | 'POST';
  /** Beneath `AUTH_PATH`, as Hono writes it. */
  readonly path: string;
  /** What its JSON body may hold. */
  readonly body?: z.ZodType<Record<string, unknown>>;
  /** By which limit it is counted. */
  readonly limit: keyof typeof byAddress;
  /** Whether it is worth nothing on a platform that sends no mail. */
  readonly mails?: true;
}

const email = z.email().max(254);
const password = z.string().min(1).max(1000);
/** A path of the public URL's origin, or a URL of an origin that is trusted; the library checks it. */
const page = z.string().min(1).max(2000);
const nothing = z.strictObject({});

const get = (path: string, limit: Door['limit'] = 'other'): Door => ({
  method: 'GET',
  path,
  limit,
});
const post = (
  path: string,
  body: z.ZodType<Record<string, unknown>>,
  limit: Door['limit'] = 'other',
): Door => ({ method: 'POST', path, body, limit });

/**
 * Everything of the library that is served, with the fields that it may be given: what a later version
 * adds stays shut until it stands here, and so do an ID token or scopes of the caller's own choice.
 */
export const doors: readonly Door[] = [
  {
    ...post(
      '/sign-up/email',
      z.strictObject({
        name: z.string().min(1).max(120),
        email,
        password,
        callbackURL: page.optional(),
      }),
      'sign-up',
    ),
    mails: true,
  },
  post(
    '/sign-in/email',
    z.strictObject({ email, password, rememberMe: z.boolean().optional() }),
    'sign-in',
  ),
  post(
    '/sign-in/social',
    z.strictObject({
      provider: z.literal(OIDC),
      callbackURL: page,
      errorCallbackURL: page.optional(),
      newUserCallbackURL: page.optional(),
    }),
    'sign-in',
  ),
  get(`/callback/${OIDC}`, 'sign-in'),
  post('/sign-out', nothing),
  get('/get-session'),
  get('/list-sessions'),
  post('/revoke-session', z.strictObject({ token: z.string().min(1).max(200) })),
  post('/revoke-other-sessions', nothing),
  post('/revoke-sessions', nothing),
  get('/list-accounts'),
  post(
    '/change-password',
    // Who changes a password may fear that somebody has it.
    z
      .strictObject({ currentPassword: password, newPassword: password })
      .transform((change) => ({ ...change, revokeOtherSessions: true })),
    'sign-in',
  ),
  {
    ...post('/request-password-reset', z.strictObject({ email, redirectTo: page }), 'mail'),
    mails: true,
  },
  get('/reset-password/:token', 'sign-in'),
  post(
    '/reset-password',
    z.strictObject({ token: z.string().min(1).max(200), newPassword: password }),
    'sign-in',
  ),
  {
    ...post(
      '/send-verification-email',
      z.strictObject({ email, callbackURL: page.optional() }),
      'mail',
    ),
    mails: true,
  },
  get('/verify-email', 'sign-in'),
];
