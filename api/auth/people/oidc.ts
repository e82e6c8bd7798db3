import type { BetterAuthPlugin } from 'better-auth';
import { genericOAuth } from 'better-auth/plugins/generic-oauth';
import { decodeJwt } from 'jose';
import { OIDC } from './paths.ts';

/** Longest wait for the provider while the process starts, ms. */
const DISCOVERY_MS = 5_000;

export interface OidcSettings {
  /** As the provider states it: its discovery document lies beneath. */
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
}

/**
 * The OpenID provider as a plugin: discovery, authorization code with PKCE, state, nonce, and an ID token
 * whose signature, issuer, audience and times are checked. An account is (issuer, subject), so that
 * another provider's subject is never taken for this one's.
 */
export function oidcProvider({ issuer, clientId, clientSecret }: OidcSettings): BetterAuthPlugin {
  const config = {
    providerId: OIDC,
    discoveryUrl: `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`,
    clientId,
    clientSecret,
    scopes: ['openid', 'email', 'profile'],
    pkce: true,
    requireIdTokenVerification: true,
    requireEmailVerification: true,
    disableProviderLogout: true,
    accountSubject: ({ tokens }: { tokens: { idToken?: string | undefined } }) =>
      subjectOf(tokens.idToken, issuer),
  };
  const plugin = genericOAuth({ config: [config] });
  return {
    ...plugin,
    // The library waits for discovery without an end, and all sign-ins with it. What it keeps of a
    // provider that did not answer makes it ask again with the first request for it.
    init: (context) =>
      Promise.race([
        plugin.init(context),
        new Promise<Awaited<ReturnType<typeof plugin.init>>>((resolve) => {
          setTimeout(() => {
            const genericOAuthPendingDiscovery = new Map([[OIDC, config]]);
            resolve({
              context: { socialProviders: context.socialProviders, genericOAuthPendingDiscovery },
            });
          }, DISCOVERY_MS).unref();
        }),
      ]),
  };
}

/**
 * The account of a verified ID token. @throws Error where a discovery document has led to the tokens of
 * another issuer than the one that is set.
 */
function subjectOf(idToken: string | undefined, issuer: string): string {
  const { iss, sub } = decodeJwt(idToken ?? '');
  if (iss !== issuer || sub === undefined) throw new Error('the ID token is of another issuer');
  return `${iss} ${sub}`;
}
