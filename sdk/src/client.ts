import {
  ArmatureError,
  routes,
  TENANT_HEADER,
  type RouteInput,
  type RouteName,
  type RouteOutput,
  type RouteParsed,
} from '../contract/index.ts';
import { call, type CallOptions, type HttpOptions, type RetryOptions } from './http.ts';
import { announceSession } from './robot/announce.ts';

type GroupName = RouteName extends `${infer G}.${string}` ? G : never;
type VerbOf<G extends GroupName> = RouteName extends infer N
  ? N extends `${G}.${infer V}`
    ? V
    : never
  : never;
type RouteOf<G extends GroupName, V extends string> = Extract<RouteName, `${G}.${V}`>;

/**
 * What a verb takes. Fields that the server coerces from query text (`limit`, `after`) are numbers
 * here, as they are after coercion.
 */
export type ClientInput<N extends RouteName> = {
  [K in keyof RouteInput<N>]: unknown extends RouteInput<N>[K]
    ? K extends keyof RouteParsed<N>
      ? RouteParsed<N>[K]
      : never
    : RouteInput<N>[K];
};

type Arguments<I> =
  Record<string, never> extends I
    ? [input?: I, options?: CallOptions]
    : [input: I, options?: CallOptions];

type Method<N extends RouteName> = (...args: Arguments<ClientInput<N>>) => Promise<RouteOutput<N>>;

/** What one page of a paged verb holds. */
type ItemOf<N extends RouteName> =
  RouteOutput<N> extends { items: (infer T)[]; next_cursor: string | null } ? T : never;

type PagedVerb<G extends GroupName> = {
  [V in VerbOf<G>]: [ItemOf<RouteOf<G, V>>] extends [never] ? never : V;
}[VerbOf<G>];

type Paged<G extends GroupName> = {
  [V in PagedVerb<G> as `${V}All`]: (
    ...args: Arguments<Omit<ClientInput<RouteOf<G, V>>, 'cursor'>>
  ) => AsyncGenerator<ItemOf<RouteOf<G, V>>, void, undefined>;
};

/** The verbs of one group as methods, and an iterator over all pages beside each paged one. */
export type Group<G extends GroupName> = {
  readonly [V in VerbOf<G>]: Method<RouteOf<G, V>>;
} & Readonly<Paged<G>>;

interface WithKey {
  /** A key of the tenant, or the operator's own for `tenants.create`. */
  readonly apiKey: string;
  readonly signedIn?: never;
}

interface SignedIn {
  readonly apiKey?: never;
  /**
   * On a page of the platform in place of a key: whoever is signed in there calls, as a member of this
   * tenant; without one, `account.*` alone.
   */
  readonly signedIn: { readonly tenant?: string };
}

interface CommonOptions {
  /** Address of the control plane, e.g. `https://api.example.com`. */
  readonly apiUrl: string;
  readonly fetch?: typeof fetch;
  /** Longest wait for one attempt's answer, ms; 30,000 unless told. */
  readonly timeoutMs?: number;
  /**
   * Repeats of calls that may succeed later: 4 attempts, waits of 200 ms doubled up to 5 s, and as long
   * as a rate limit says, a minute in all, unless told.
   */
  readonly retry?: Partial<RetryOptions>;
  /**
   * Whether `sessions.create` announces the session to its worker, which then fetches the policy
   * before the robot connects; true unless told.
   */
  readonly announce?: boolean;
}

export type ArmatureOptions = CommonOptions & (WithKey | SignedIn);

/** Longest wait for a worker's answer to an announcement, ms. */
const ANNOUNCE_MS = 2_000;

/**
 * Client of the control plane, made from the contract's table of routes: `client.datasets.get({id})`
 * performs `datasets.get`, `client.datasets.listAll()` iterates over every page of `datasets.list`.
 * Every method throws `ArmatureError` only.
 */
export class Armature {
  readonly apiUrl: string;
  readonly tenants: Group<'tenants'>;
  readonly keys: Group<'keys'>;
  readonly members: Group<'members'>;
  readonly invitations: Group<'invitations'>;
  readonly account: Group<'account'>;
  readonly audit: Group<'audit'>;
  readonly embodiments: Group<'embodiments'>;
  readonly datasets: Group<'datasets'>;
  readonly finetunes: Group<'finetunes'>;
  readonly policies: Group<'policies'>;
  readonly sessions: Group<'sessions'>;
  readonly webhooks: Group<'webhooks'>;
  readonly usage: Group<'usage'>;
  readonly prices: Group<'prices'>;
  readonly reasoning: Group<'reasoning'>;
  /** The `fetch` that the client was given, for what goes past the control plane (uploads). */
  readonly fetch: typeof fetch;

  /** @throws ArmatureError `invalid_request` for an address that is none, `missing_key`. */
  constructor(options: ArmatureOptions) {
    if (!URL.canParse(options.apiUrl) || !/^https?:/.test(options.apiUrl)) {
      throw new ArmatureError(
        'invalid_request',
        `${JSON.stringify(options.apiUrl)} is no address`,
        {
          field: 'apiUrl',
          fix: 'Give the address of the control plane, e.g. https://api.example.com.',
        },
      );
    }
    if (options.apiKey === '') {
      throw new ArmatureError('missing_key', 'the client has no key', {
        field: 'apiKey',
        fix: 'Give a key of your tenant.',
      });
    }
    this.apiUrl = options.apiUrl.replace(/\/+$/, '');
    this.fetch = options.fetch ?? fetch;
    const http: HttpOptions = {
      apiUrl: this.apiUrl,
      credential: credentialOf(options),
      fetch: this.fetch,
      timeoutMs: options.timeoutMs ?? 30_000,
      retry: { attempts: 4, baseMs: 200, maxMs: 5_000, patienceMs: 60_000, ...options.retry },
    };
    this.tenants = group(http, 'tenants');
    this.keys = group(http, 'keys');
    this.members = group(http, 'members');
    this.invitations = group(http, 'invitations');
    this.account = group(http, 'account');
    this.audit = group(http, 'audit');
    this.embodiments = group(http, 'embodiments');
    this.datasets = group(http, 'datasets');
    this.finetunes = group(http, 'finetunes');
    this.policies = group(http, 'policies');
    const sessions = group(http, 'sessions');
    this.sessions =
      options.announce === false ? sessions : { ...sessions, create: announced(http, sessions) };
    this.webhooks = group(http, 'webhooks');
    this.usage = group(http, 'usage');
    this.prices = group(http, 'prices');
    this.reasoning = group(http, 'reasoning');
  }
}

function credentialOf({ apiKey, signedIn }: ArmatureOptions): HttpOptions['credential'] {
  if (apiKey !== undefined) {
    return { headers: { authorization: `Bearer ${apiKey}` }, cookies: 'omit' };
  }
  const tenant = signedIn.tenant === undefined ? {} : { [TENANT_HEADER]: signedIn.tenant };
  return { headers: tenant, cookies: 'include' };
}

function group<G extends GroupName>(http: HttpOptions, name: G): Group<G> {
  const methods: Record<string, unknown> = {};
  for (const route of Object.keys(routes) as RouteName[]) {
    if (!route.startsWith(`${name}.`)) continue;
    const verb = route.slice(name.length + 1);
    methods[verb] = (input: RouteInput<RouteName> = {}, options?: CallOptions) =>
      call(http, route, input, options);
    if (isPaged(route)) {
      methods[`${verb}All`] = (input: object = {}, options?: CallOptions) =>
        pages(http, route, input, options);
    }
  }
  return methods as Group<G>;
}

/**
 * `sessions.create` that also announces the session to its worker, without waiting for it: a session
 * is good without, and whoever connects meets the same refusal.
 */
function announced(http: HttpOptions, { create }: Group<'sessions'>): Group<'sessions'>['create'] {
  return async (input, options) => {
    const grant = await create(input, options);
    const ahead = announceSession(grant, { fetch: http.fetch, timeoutMs: ANNOUNCE_MS });
    ahead.catch(() => undefined);
    return grant;
  };
}

function isPaged(route: RouteName): boolean {
  return 'next_cursor' in routes[route].output.shape;
}

async function* pages(
  http: HttpOptions,
  route: RouteName,
  input: object,
  options: CallOptions | undefined,
): AsyncGenerator<unknown, void, undefined> {
  let cursor: string | undefined;
  do {
    const page = (await call(
      http,
      route,
      { ...input, ...(cursor === undefined ? {} : { cursor }) },
      options,
    )) as { items: unknown[]; next_cursor: string | null };
    yield* page.items;
    if (page.next_cursor === cursor) return;
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
}
