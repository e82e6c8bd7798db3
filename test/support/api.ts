import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect, Sealing } from '@armature/db';
import {
  problemSchema,
  routes,
  type Problem,
  type RouteInput,
  type RouteName,
  type RouteOutput,
  type Scope,
} from '@armature/sdk/contract';
import { DiskStore } from '@armature/storage';
import pino from 'pino';
import { createApp } from '../../api/app.ts';
import { listen } from '../../api/listen.ts';
import { startTestPostgres, type TestDatabase } from './postgres.ts';

export const PLATFORM_KEY = 'the-operators-own-key-only-for-tests';

/** What secrets in the database of a test are sealed with. */
export const SEALING_KEYS = `test:${Buffer.alloc(32, 7).toString('base64url')}`;

export type Answer<N extends RouteName> =
  | { status: number; ok: RouteOutput<N>; problem?: never }
  | { status: number; ok?: never; problem: Problem };

export interface TestApiOptions {
  /** `superuser`: no policy binds the API, so that only its own predicates keep tenants apart. */
  databaseRole?: 'app' | 'superuser';
  /** Requests that the API fetches from a tenant's rate at a time. */
  requestBatch?: number;
}

export interface TestApi {
  url: string;
  app: Awaited<ReturnType<typeof createApp>>;
  storeRoot: string;
  db: TestDatabase;
  store: DiskStore;
  /** Lines of the log. */
  log: string[];
  /** The clock of the API, which tests may move. */
  clock: { skewMs: number };
  /** A new tenant with an admin key. */
  tenant(name?: string): Promise<{ id: string; key: string }>;
  /** Another key of the tenant. */
  keyWith(
    adminKey: string,
    scopes: Scope[],
    expiresAt?: string,
  ): Promise<{ id: string; key: string }>;
  /** One verb over REST. */
  call<N extends RouteName>(
    name: N,
    key: string | undefined,
    input: RouteInput<N>,
    query?: Record<string, string>,
  ): Promise<Answer<N>>;
  /** As `call`, for what must succeed. */
  must<N extends RouteName>(name: N, key: string, input: RouteInput<N>): Promise<RouteOutput<N>>;
  stop(): Promise<void>;
}

/** The control plane on loopback with a PostgreSQL and a disk store of this test file's own. */
export async function startTestApi(options: TestApiOptions = {}): Promise<TestApi> {
  const postgres = await startTestPostgres();
  const db = await postgres.database();
  const storeRoot = await mkdtemp(path.join(tmpdir(), 'armature-objects-'));
  const log: string[] = [];
  const clock = { skewMs: 0 };
  const held: { app?: Awaited<ReturnType<typeof createApp>> } = {};
  const server = await listen(
    {
      fetch: (request, env) => {
        if (held.app === undefined) throw new Error('the API is not ready');
        return held.app.fetch(request, env);
      },
    },
    { hostname: '127.0.0.1', port: 0 },
  );
  const store = new DiskStore({
    kind: 'disk',
    root: storeRoot,
    publicUrl: server.url,
    secret: 'signs the uploads of this test file only',
  });
  const { privateKey } = generateKeyPairSync('ed25519');
  const asSuperuser =
    options.databaseRole === 'superuser' ? connect(db.adminUrl, { max: 8 }) : undefined;
  const app = await createApp({
    db: asSuperuser ?? db.app,
    store,
    log: pino({ level: 'trace' }, { write: (line: string) => void log.push(line) }),
    keyPepper: 'peppers the keys of this test file only',
    platformKey: PLATFORM_KEY,
    sealing: Sealing.of(SEALING_KEYS),
    sessionSigningKey: { ...privateKey.export({ format: 'jwk' }), kid: 'test-1' },
    clock: () => new Date(Date.now() + clock.skewMs),
    ...(options.requestBatch === undefined ? {} : { requestBatch: options.requestBatch }),
  });
  held.app = app;
  const call: TestApi['call'] = async (name, key, input, query = {}) => {
    const answer = await fetch(...requestFor(server.url, name, key, input, query));
    const body: unknown = await answer.json();
    const { status } = answer;
    if (!answer.ok) return { status, problem: problemSchema.parse(body) };
    return { status, ok: routes[name].output.parse(body) as RouteOutput<typeof name> };
  };
  const must: TestApi['must'] = async (name, key, input) => {
    const answer = await call(name, key, input);
    if (answer.ok === undefined) throw new Error(`${name}: ${JSON.stringify(answer.problem)}`);
    return answer.ok;
  };
  return {
    url: server.url,
    app,
    storeRoot,
    db,
    store,
    log,
    clock,
    call,
    must,
    tenant: async (name = 'a tenant') => {
      const { tenant, secret } = await must('tenants.create', PLATFORM_KEY, { name });
      return { id: tenant.id, key: secret };
    },
    keyWith: async (adminKey, scopes, expiresAt) => {
      const { key, secret } = await must('keys.create', adminKey, {
        name: scopes.join(' '),
        scopes,
        ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
      });
      return { id: key.id, key: secret };
    },
    stop: async () => {
      await server.close();
      await asSuperuser?.close();
      await postgres.stop();
      await rm(storeRoot, { recursive: true, force: true });
    },
  };
}

/** The HTTP request of a verb: path fields in the path, the rest as query or JSON body. */
export function requestFor(
  base: string,
  name: RouteName,
  key: string | undefined,
  input: object,
  query: Record<string, string> = {},
): [URL, RequestInit] {
  const { method, path: pattern } = routes[name];
  const rest: Record<string, unknown> = { ...input };
  const filled = pattern.replaceAll(/:(\w+)/g, (_, field: string) => {
    const value = rest[field];
    Reflect.deleteProperty(rest, field);
    return encodeURIComponent(String(value));
  });
  const url = new URL(filled, base);
  const isBody = method === 'POST';
  const inQuery = isBody ? query : { ...rest, ...query };
  for (const [field, value] of Object.entries(inQuery)) url.searchParams.set(field, String(value));
  const headers: Record<string, string> = { 'x-request-id': 'test-request-1' };
  if (key !== undefined) headers['authorization'] = `Bearer ${key}`;
  if (isBody) headers['content-type'] = 'application/json';
  return [url, { method, headers, ...(isBody ? { body: JSON.stringify(rest) } : {}) }];
}
