import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect, Sealing } from '@armature/db';
import {
  problemSchema,
  routes,
  TENANT_HEADER,
  type Problem,
  type RouteInput,
  type RouteName,
  type Role,
  type RouteOutput,
  type Scope,
} from '@armature/sdk/contract';
import { DiskStore, type ObjectStore } from '@armature/storage';
import pino from 'pino';
import { createApp } from '../../api/app.ts';
import type { OidcSettings } from '../../api/auth/people/oidc.ts';
import { People } from '../../api/auth/people/people.ts';
import type { MailConfig } from '../../api/config.ts';
import { mailerOf } from '../../api/deps.ts';
import { listen } from '../../api/listen.ts';
import { readPriceSheets } from '../../api/metering/price-sheets.ts';
import { identityStore } from '../../api/services/identity.ts';
import { differentAddresses } from './addresses.ts';
import { mailBox, signUp, type Browser, type Inbox } from './people.ts';
import { startTestPostgres, type TestDatabase } from './postgres.ts';
import { AUTH_SECRET, KEY_PEPPER, PLATFORM_KEY, SEALING_KEYS, STORE_SECRET } from './secrets.ts';
import { settingsOf } from './settings.ts';
import { startTwoProcesses, wantsTwoProcesses } from './two-processes.ts';

export { PLATFORM_KEY, SEALING_KEYS };

export type Answer<N extends RouteName> =
  | { status: number; ok: RouteOutput<N>; problem?: never }
  | { status: number; ok?: never; problem: Problem };

/** What a request shows of who sends it: a bearer, the sign-in of a person, or nothing. */
export type Credential = string | SignedIn | undefined;

/** The cookies of a browser, with the tenant and the page that a request names. */
export interface SignedIn {
  readonly cookies: string;
  readonly tenant?: string | undefined;
  readonly origin?: string | undefined;
}

export function credentialHeaders(credential: Credential): Record<string, string> {
  if (credential === undefined) return {};
  if (typeof credential === 'string') return { authorization: `Bearer ${credential}` };
  const { cookies, tenant, origin } = credential;
  return {
    cookie: cookies,
    ...(tenant === undefined ? {} : { [TENANT_HEADER]: tenant }),
    ...(origin === undefined ? {} : { origin }),
  };
}

export interface TestApiOptions {
  /** `superuser`: no policy binds the API, so that only its own predicates keep tenants apart; in one process. */
  databaseRole?: 'app' | 'superuser';
  /** In place of the disk store, in one process. */
  objectStore?: ObjectStore;
  /** Requests that the API fetches from a tenant's rate at a time. */
  requestBatch?: number;
  /** Life of a session token, s. */
  sessionTokenLifeS?: number;
  oidc?: OidcSettings;
  /** In place of the box that keeps mails. */
  mail?: MailConfig;
  /** As which the API is known to those outside; where it listens unless told. */
  publicUrl?: string;
}

export interface TestApi {
  url: string;
  /** Where it is in the test's own process. */
  app?: Awaited<ReturnType<typeof createApp>>;
  storeRoot: string;
  db: TestDatabase;
  store: DiskStore;
  /** Lines of the log, those of all that was answered among them. */
  log(): Promise<readonly string[]>;
  /** As which it is known to those outside. */
  publicUrl: string;
  /** The clock of the API, which tests may move. */
  clock: { skewMs: number };
  /**
   * Lets the seconds pass for which another process may believe what it has looked up of a key, where
   * there is another.
   */
  othersLearn(): void;
  /** Mails that were sent. */
  box: Inbox;
  /** Where connections seem to come from: another address each time unless a test sets one. */
  caller: { address: string | undefined };
  /** A person who has signed up with this address and is signed in. */
  person(email: string): Promise<Browser>;
  /** As `person`, who is also a member of the admin key's tenant. */
  member(adminKey: string, email: string, role: Role): Promise<{ id: string; browser: Browser }>;
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
    key: Credential,
    input: RouteInput<N>,
    query?: Record<string, string>,
  ): Promise<Answer<N>>;
  /** As `call`, for what must succeed. */
  must<N extends RouteName>(
    name: N,
    key: Credential,
    input: RouteInput<N>,
  ): Promise<RouteOutput<N>>;
  stop(): Promise<void>;
}

/**
 * The control plane on loopback with a PostgreSQL and a disk store of this suite's own: one app in
 * this process, or two processes behind a round robin where `ARMATURE_TEST_API` is `two`.
 */
export async function startTestApi(options: TestApiOptions = {}): Promise<TestApi> {
  const api = wantsTwoProcesses() ? await behindRoundRobin(options) : await inThisProcess(options);
  const publicUrl = options.publicUrl ?? api.url;
  const person: TestApi['person'] = (email) => signUp(api.url, api.box, email, publicUrl);
  return Object.assign(api, { publicUrl, person }, clientOf(api.url, person));
}

/** What of a `TestApi` depends on where the API runs. */
type Running = Omit<TestApi, 'publicUrl' | 'person' | keyof ReturnType<typeof clientOf>>;

async function behindRoundRobin({
  databaseRole,
  objectStore,
  ...options
}: TestApiOptions): Promise<Running> {
  for (const [name, value] of Object.entries({ databaseRole, objectStore })) {
    if (value !== undefined)
      throw new Error(`${name}: only an API in the test's own process has it`);
  }
  return startTwoProcesses(settingsOf(options));
}

async function inThisProcess(options: TestApiOptions): Promise<Running> {
  const postgres = await startTestPostgres();
  const db = await postgres.database();
  const storeRoot = await mkdtemp(path.join(tmpdir(), 'armature-objects-'));
  const lines: string[] = [];
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
    secret: STORE_SECRET,
  });
  const { privateKey } = generateKeyPairSync('ed25519');
  const asSuperuser =
    options.databaseRole === 'superuser' ? connect(db.adminUrl, { max: 8 }) : undefined;
  const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) });
  const box = mailBox();
  const caller: TestApi['caller'] = { address: undefined };
  const people = new People({
    secret: AUTH_SECRET,
    publicUrl: options.publicUrl ?? server.url,
    origins: [],
    trustedProxies: [],
    oidc: options.oidc ?? null,
    outlivesAnswers: true,
    store: identityStore(asSuperuser ?? db.app),
    mailer: options.mail === undefined ? box : mailerOf(options.mail, log),
    log,
  });
  const anyAddress = differentAddresses();
  const app = await createApp({
    db: asSuperuser ?? db.app,
    store: options.objectStore ?? store,
    log,
    people,
    connectionAddress: () => caller.address ?? anyAddress(),
    keyPepper: KEY_PEPPER,
    platformKey: PLATFORM_KEY,
    publicUrl: options.publicUrl ?? server.url,
    prices: readPriceSheets(undefined),
    sealing: Sealing.of(SEALING_KEYS),
    sessionSigningKey: { ...privateKey.export({ format: 'jwk' }), kid: 'test-1' },
    clock: () => new Date(Date.now() + clock.skewMs),
    ...(options.requestBatch === undefined ? {} : { requestBatch: options.requestBatch }),
    ...(options.sessionTokenLifeS === undefined
      ? {}
      : { sessionTokenLifeS: options.sessionTokenLifeS }),
  });
  held.app = app;
  return {
    url: server.url,
    app,
    storeRoot,
    db,
    store,
    log: () => Promise.resolve([...lines]),
    clock,
    othersLearn: () => undefined,
    box,
    caller,
    stop: async () => {
      await server.close();
      await people.close();
      await asSuperuser?.close();
      await postgres.stop();
      await rm(storeRoot, { recursive: true, force: true });
    },
  };
}

/** Calls of an API at an address, and what tests make by them. */
function clientOf(url: string, person: TestApi['person']) {
  const call: TestApi['call'] = async (name, key, input, query = {}) => {
    const answer = await fetch(...requestFor(url, name, key, input, query));
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
  const member: TestApi['member'] = async (adminKey, email, role) => {
    const { secret } = await must('invitations.create', adminKey, { email, role });
    const browser = await person(email);
    const made = await browser.json('POST', '/v1/account/memberships', { invitation: secret });
    return { id: routes['account.join'].output.parse(made.body).member.id, browser };
  };
  const tenant: TestApi['tenant'] = async (name = 'a tenant') => {
    const made = await must('tenants.create', PLATFORM_KEY, { name });
    return { id: made.tenant.id, key: made.secret };
  };
  const keyWith: TestApi['keyWith'] = async (adminKey, scopes, expiresAt) => {
    const { key, secret } = await must('keys.create', adminKey, {
      name: scopes.join(' '),
      scopes,
      ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
    });
    return { id: key.id, key: secret };
  };
  return { call, must, member, tenant, keyWith };
}

/** The HTTP request of a verb: path fields in the path, the rest as query or JSON body. */
export function requestFor(
  base: string,
  name: RouteName,
  key: Credential,
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
  const headers: Record<string, string> = {
    'x-request-id': 'test-request-1',
    ...credentialHeaders(key),
  };
  if (isBody) headers['content-type'] = 'application/json';
  return [url, { method, headers, ...(isBody ? { body: JSON.stringify(rest) } : {}) }];
}
