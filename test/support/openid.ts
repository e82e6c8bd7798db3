import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { Provider } from 'oidc-provider';
import type { OidcSettings } from '../../api/auth/people/oidc.ts';
import type { Browser } from './people.ts';

/** Whom the provider takes the next visitor for. */
export interface ProviderAccount {
  readonly sub: string;
  readonly email?: string;
  readonly email_verified?: boolean;
  readonly name?: string;
}

export interface OpenIdProvider {
  readonly settings: OidcSettings;
  account: ProviderAccount;
  stop(): Promise<void>;
}

const CLIENT = { clientId: 'armature', clientSecret: 'the secret of a client in a test' };

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function stopping(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

/** oidc-provider on loopback, which wants PKCE and signs everybody in as `account` without asking. */
export async function startOpenIdProvider(callback: string): Promise<OpenIdProvider> {
  const server = createServer();
  const issuer = await listening(server);
  const started: OpenIdProvider = {
    settings: { issuer, ...CLIENT },
    account: { sub: 'nobody' },
    stop: () => stopping(server),
  };
  const accounts = new Map<string, ProviderAccount>();
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: CLIENT.clientId,
        client_secret: CLIENT.clientSecret,
        redirect_uris: [callback],
        grant_types: ['authorization_code'],
        response_types: ['code'],
        token_endpoint_auth_method: 'client_secret_post',
      },
    ],
    pkce: { required: () => true },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    cookies: { keys: ['signs the cookies of a provider in a test'] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
    findAccount: (_ctx, id) => ({
      accountId: id,
      claims: () => ({ ...accounts.get(id), sub: id }),
    }),
    loadExistingGrant: async (ctx) => {
      const { client, session } = ctx.oidc;
      if (client === undefined || session?.accountId === undefined) return undefined;
      const grant = new ctx.oidc.provider.Grant({
        clientId: client.clientId,
        accountId: session.accountId,
      });
      grant.addOIDCScope('openid email profile');
      await grant.save();
      return grant;
    },
  });
  const serve = provider.callback();
  server.on('request', (request, answer) => {
    if (!(request.url ?? '').startsWith('/interaction/')) {
      void serve(request, answer);
      return;
    }
    const { account } = started;
    accounts.set(account.sub, account);
    provider
      .interactionFinished(request, answer, { login: { accountId: account.sub } })
      .catch((error: unknown) => answer.writeHead(500).end(String(error)));
  });
  return started;
}

/** Follows redirects at the provider until one leads back to the platform. @returns that one. */
export async function passProvider(at: Browser, url: string, home: string): Promise<string> {
  for (let next = url, hops = 0; hops < 10; hops += 1) {
    const answer = await at.send('GET', next);
    const to = answer.headers.get('location');
    if (to === null) throw new Error(`${next} answered ${answer.status}: ${await answer.text()}`);
    next = new URL(to, next).href;
    if (next.startsWith(home)) return next;
  }
  throw new Error('the provider redirects without an end');
}

/** What a provider that lies puts into an ID token, and who signs it. */
export interface Lie {
  /** Where one is undefined the token has none. */
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly signer?: 'its own' | 'a stranger' | 'the client’s secret' | 'nobody';
}

export interface LyingProvider {
  readonly settings: OidcSettings;
  /** In its discovery document; where it listens unless told. */
  issuer: string | undefined;
  lie: Lie;
  /** While set, nothing is answered. */
  silent: boolean;
  stop(): Promise<void>;
}

/** A provider by hand, whose ID tokens are whatever a test wants; it has no page to sign in at. */
export async function startLyingProvider(): Promise<LyingProvider> {
  const [own, other] = [await generateKeyPair('ES256'), await generateKeyPair('ES256')];
  const jwk = { ...(await exportJWK(own.publicKey)), kid: 'own', alg: 'ES256', use: 'sig' };
  const server = createServer();
  const issuer = await listening(server);
  const liar: LyingProvider = {
    settings: { issuer, ...CLIENT },
    issuer: undefined,
    lie: {},
    silent: false,
    stop: () => stopping(server),
  };
  const token = async (): Promise<string> => {
    const { claims = {}, signer = 'its own' } = liar.lie;
    const now = Math.floor(Date.now() / 1000);
    const whole = { iss: issuer, aud: CLIENT.clientId, iat: now, exp: now + 300, ...claims };
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    if (signer === 'nobody') return `${part({ alg: 'none' })}.${part(whole)}.`;
    const jwt = new SignJWT(whole);
    if (signer === 'the client’s secret') {
      return jwt
        .setProtectedHeader({ alg: 'HS256', kid: 'own' })
        .sign(Buffer.from(CLIENT.clientSecret));
    }
    const key = signer === 'its own' ? own.privateKey : other.privateKey;
    return jwt.setProtectedHeader({ alg: 'ES256', kid: 'own' }).sign(key);
  };
  const answers: Record<string, () => unknown> = {
    '/.well-known/openid-configuration': () => ({
      issuer: liar.issuer ?? issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/jwks`,
      id_token_signing_alg_values_supported: ['ES256'],
    }),
    '/jwks': () => ({ keys: [jwk] }),
    '/token': async () => ({
      access_token: 'an access token',
      token_type: 'Bearer',
      id_token: await token(),
    }),
  };
  server.on('request', (request, answer) => {
    if (liar.silent) return;
    const make = answers[request.url ?? ''];
    if (make === undefined) {
      answer.writeHead(404).end();
      return;
    }
    Promise.resolve(make()).then(
      (body) => {
        answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
      },
      (error: unknown) => answer.writeHead(500).end(String(error)),
    );
  });
  return liar;
}
