import { ArmatureError } from '@armature/sdk/contract';
import type { ObjectStore } from '@armature/storage';
import { Hono } from 'hono';

import type { Logger } from 'pino';
import { hashKey, isWellFormed, kindOf, newApiKey, startOf } from './auth/api-key.ts';
import { Authenticator } from './auth/authenticator.ts';
import { identify } from './auth/identify.ts';
import type { People } from './auth/people/people.ts';
import { sessionTokens, type JWK } from './auth/session-tokens.ts';
import { createCall } from './call.ts';
import { KEY_SHARE, requestRate } from './limits.ts';
import { RateLimiter } from './rate-limiter.ts';
import { classifyError } from './errors.ts';
import { mountAuth, type ConnectionAddress } from './http/auth.ts';
import { mountErrorPages } from './http/error-pages.ts';
import { mountEventStream } from './http/event-stream.ts';
import { problemResponse } from './http/problem.ts';
import { mountRest, type HttpEnv } from './http/rest.ts';
import { mountStore } from './http/store.ts';
import type { PriceSheets } from './metering/price-sheets.ts';
import { requestIdOf } from './request-id.ts';
import type { ServiceDeps } from './services/context.ts';
import type { Database, Sealing } from './services/database.ts';
import { pingDatabase } from './services/health.ts';
import { CLAIM_LIFE_S } from './services/idempotency.ts';
import { findCredential } from './services/keys-find.ts';
import { REQUESTS_LENT_MS, takeRequests } from './services/take-requests.ts';
import { mountTrpc } from './trpc/mount.ts';

export interface AppDeps {
  db: Database;
  store: ObjectStore;
  log: Logger;
  /** Key of the HMAC that API keys are stored as. */
  keyPepper: string;
  /** Seals secrets that the database keeps, e.g. those of webhooks. */
  sealing: Sealing;
  platformKey: string;
  /** What is charged for what was used. */
  prices: PriceSheets;
  /** As which those outside reach the API, without a slash at its end: where problems link what they mean. */
  publicUrl: string;
  /** Ed25519 private JWK with a kid. */
  sessionSigningKey: JWK;
  /** Public JWKs that verifiers accept beside it, while keys change. */
  alsoPublishedKeys?: readonly JWK[];
  /** Life of a session token, s. */
  sessionTokenLifeS?: number;
  /** How long a request that claims an idempotency key is believed to be at work. */
  claimLifeS?: number;
  people: People;
  connectionAddress: ConnectionAddress;
  clock?: () => Date;
  /** Whether answers can be streamed; yes when absent. */
  eventStreams?: boolean;
  /** Requests of a tenant that this process fetches at a time. */
  requestBatch?: number;
}

/** The control plane as one fetch handler: REST, tRPC, signing in, uploads, JWKS, health. */
export async function createApp(deps: AppDeps): Promise<Hono<HttpEnv>> {
  const { db, store, log, keyPepper, people, publicUrl: origin } = deps;
  const clock = deps.clock ?? (() => new Date());
  const tokens = await sessionTokens(
    deps.sessionSigningKey,
    deps.alsoPublishedKeys,
    deps.sessionTokenLifeS,
  );
  const authenticator = new Authenticator({
    pepper: keyPepper,
    platformKey: deps.platformKey,
    find: (kind, hash) => findCredential[kind](db, hash),
    clock,
  });
  const services: ServiceDeps = {
    db,
    store,
    clock,
    sealing: deps.sealing,
    prices: deps.prices,
    claimLifeS: deps.claimLifeS ?? CLAIM_LIFE_S,
    tokens,
    keys: {
      mint: (kind) => {
        const secret = newApiKey(kind);
        return { secret, start: startOf(secret), hash: hashKey(keyPepper, secret) };
      },
      hashInvitation: (secret) =>
        isWellFormed(secret) && kindOf(secret) === 'invitation' ? hashKey(keyPepper, secret) : null,
      forget: (keyId) => authenticator.forget(keyId),
    },
  };
  const limiter = new RateLimiter({
    take: takeRequests(db),
    keyShare: KEY_SHARE,
    batch: deps.requestBatch ?? requestRate.batch,
    lentMs: REQUESTS_LENT_MS,
    nowMs: () => performance.now(),
  });
  const call = createCall({
    services,
    identify: (caller, asked) => identify({ authenticator, people }, caller, asked),
    limiter,
    pepper: keyPepper,
    log,
  });
  const app = new Hono<HttpEnv>();
  app.use(async (c, next) => {
    c.set('requestId', requestIdOf(c.req.header('x-request-id')));
    await next();
    c.header('x-request-id', c.get('requestId'));
    c.header('x-content-type-options', 'nosniff');
  });
  app.onError((thrown, c) => {
    const error = classifyError(thrown);
    const line = { path: c.req.path, request_id: c.get('requestId'), code: error.code };
    if (error.status >= 500) log.error({ ...line, err: error.cause ?? error }, 'request failed');
    return problemResponse(error, c.get('requestId'), origin);
  });
  app.notFound((c) => {
    const error = new ArmatureError('not_found', `no route ${c.req.method} ${c.req.path}`, {
      fix: 'Check method and path.',
    });
    return problemResponse(error, c.get('requestId'), origin);
  });
  app.get('/healthz', (c) => c.json({ status: 'ok' }));
  app.get('/readyz', async (c) => {
    await pingDatabase(db);
    return c.json({ status: 'ready' });
  });
  app.get('/.well-known/jwks.json', (c) => {
    c.header('cache-control', 'public, max-age=300');
    return c.json(tokens.jwks);
  });
  mountErrorPages(app);
  mountStore(app, store, clock);
  mountAuth(app, { people, connectionAddress: deps.connectionAddress });
  if (deps.eventStreams ?? true) mountEventStream(app, call, origin);
  mountRest(app, call);
  mountTrpc(app, call, { origin, log });
  return app;
}
