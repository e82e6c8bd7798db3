import { getIP } from 'better-auth/api';
import { betterAuth, type BetterAuthOptions } from 'better-auth/minimal';
import type { Logger } from 'pino';
import type { IdentityPrefix, IdentityStore } from '../../services/identity.ts';
import { ADDRESS_HEADER } from './address.ts';
import { LINK_LIFE_S, knownMail, resetMail, verificationMail } from './mails.ts';
import { oidcProvider, type OidcSettings } from './oidc.ts';
import { isSecure } from './paths.ts';
import type { Mail } from '../../mail/mailer.ts';

export const MIN_PASSWORD = 12;
export const MAX_PASSWORD = 128;
/** A sign-in ends after a week without a look at it, s; one that is looked at is renewed once a day. */
const SIGN_IN_LIFE_S = 7 * 86_400;
const SIGN_IN_RENEWAL_S = 86_400;

export interface LibraryOptions {
  /** Where `AUTH_PATH` is reached, without a slash at its end. */
  readonly baseUrl: string;
  readonly secret: string;
  /** Origins of pages that may call and be returned to. */
  readonly origins: readonly string[];
  readonly trustedProxies: readonly string[];
  readonly oidc: OidcSettings | null;
  readonly store: IdentityStore;
  readonly log: Logger;
  readonly deliver: (mail: Mail) => Promise<void>;
}

const prefixes: Readonly<Record<string, IdentityPrefix>> = {
  user: 'per',
  account: 'acc',
  session: 'sgn',
  verification: 'ver',
};

/** Of the provider's tokens nothing is kept: they are good for one sign-in, which has happened. */
const withoutTokens = {
  accessToken: null,
  refreshToken: null,
  idToken: null,
  accessTokenExpiresAt: null,
  refreshTokenExpiresAt: null,
};

/**
 * better-auth with every choice stated: its defaults depend on NODE_ENV (checks of origins are off in
 * `test`, limits in development) and on variables of its own.
 */
export async function signInLibrary(o: LibraryOptions) {
  const options = {
    appName: 'Armature',
    baseURL: o.baseUrl,
    basePath: new URL(o.baseUrl).pathname,
    // As a list, which variables of the environment do not replace.
    secrets: [{ version: 1, value: o.secret }],
    database: await o.store.adapter(),
    trustedOrigins: [...o.origins],
    emailAndPassword: {
      enabled: true,
      minPasswordLength: MIN_PASSWORD,
      maxPasswordLength: MAX_PASSWORD,
      requireEmailVerification: true,
      autoSignIn: false,
      revokeSessionsOnPasswordReset: true,
      resetPasswordTokenExpiresIn: LINK_LIFE_S,
      sendResetPassword: ({ user, url }) => o.deliver(resetMail(user.email, url)),
      onExistingUserSignUp: ({ user }) => o.deliver(knownMail(user.email)),
    },
    emailVerification: {
      sendOnSignUp: true,
      sendOnSignIn: false,
      // Whoever opens the link has the mailbox, and not yet the password that was chosen.
      autoSignInAfterVerification: false,
      expiresIn: LINK_LIFE_S,
      sendVerificationEmail: ({ user, url }) => o.deliver(verificationMail(user.email, url)),
    },
    user: {
      changeEmail: { enabled: false },
      deleteUser: { enabled: false },
      // A person is found by address, so that only one that the provider vouches for counts.
      validateUserInfo: ({ user, source }) =>
        source.method === 'oauth' && user.emailVerified !== true
          ? { error: 'email_not_verified' }
          : undefined,
    },
    account: {
      updateAccountOnSignIn: false,
      // Both sides must have verified the address: what the library does where nothing is trusted.
      accountLinking: { enabled: true, trustedProviders: [] },
    },
    session: {
      expiresIn: SIGN_IN_LIFE_S,
      updateAge: SIGN_IN_RENEWAL_S,
      cookieCache: { enabled: false },
    },
    verification: { storeIdentifier: 'hashed' },
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    experimental: { instrumentation: { enabled: false } },
    onAPIError: { throw: true, errorURL: `${o.baseUrl}/error` },
    advanced: {
      cookiePrefix: 'armature',
      useSecureCookies: isSecure(o.baseUrl),
      disableCSRFCheck: false,
      disableOriginCheck: false,
      defaultCookieAttributes: { httpOnly: true, sameSite: 'lax', path: '/' },
      ipAddress: { ipAddressHeaders: [ADDRESS_HEADER], trustedProxies: [...o.trustedProxies] },
      database: {
        generateId: ({ model }) => {
          const prefix = prefixes[model];
          if (prefix === undefined) throw new Error(`no rows of ${model} are kept`);
          return o.store.newId(prefix);
        },
      },
    },
    databaseHooks: {
      account: { create: { before: async () => ({ data: withoutTokens }) } },
      session: { create: { after: () => o.store.sweep() } },
    },
    logger: {
      level: 'warn',
      log: (level, message, ...args: unknown[]) => {
        const details = args.map((arg) => o.store.redact(arg));
        const err = details.find((detail) => detail instanceof Error);
        o.log[level]({ details: details.filter((detail) => detail !== err), err }, message);
      },
    },
    plugins: o.oidc === null ? [] : [oidcProvider(o.oidc)],
  } satisfies BetterAuthOptions;
  return betterAuth(options);
}

export type SignInLibrary = Awaited<ReturnType<typeof signInLibrary>>;

/** The network address that a caller is counted by; null where the connection has none. */
export function addressOf(library: SignInLibrary, headers: Headers): string | null {
  return getIP(headers, library.options);
}
