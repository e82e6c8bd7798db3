import type { Db, Sealing } from '@armature/db';
import type {
  Person,
  RouteName,
  RouteOutput,
  RouteParsed,
  routes,
  SessionClaims,
} from '@armature/sdk/contract';
import type { ObjectStore } from '@armature/storage';
import type { PriceSheets } from '../metering/price-sheets.ts';
import type { Claim } from './idempotency.ts';

/** What services need of the outside, the same for every request. */
export interface ServiceDeps {
  db: Db;
  store: ObjectStore;
  clock: () => Date;
  /** What is charged for what was used. */
  prices: PriceSheets;
  /** Seals secrets that the database keeps. */
  sealing: Sealing;
  /** How long a request that claims an idempotency key is believed to be at work. */
  claimLifeS: number;
  keys: {
    /** A new key or invitation, shown once, with what is stored of it. */
    mint(kind?: 'key' | 'invitation'): { secret: string; start: string; hash: Buffer };
    /** What is stored of an invitation; null for what can be none. */
    hashInvitation(secret: string): Buffer | null;
    /** Drops a revoked or changed key, or an invitation, from the caches of this process. */
    forget(keyId: string): Promise<void>;
  };
  tokens: { issue(claims: SessionClaims, now: Date): Promise<{ token: string; expiresAt: Date }> };
}

/** One request of a tenant. */
export interface TenantContext extends ServiceDeps {
  tenant: string;
  /** Id of the key, the member, the invitation or the person that called. */
  actor: string;
  /** The API key that called; null for a person, an invitation. */
  keyId: string | null;
  verb: RouteName;
  requestId: string;
  /** The right to carry this out once, where the caller gave an idempotency key. */
  claim?: Claim;
}

/** One request of the operator. */
export interface PlatformContext extends ServiceDeps {
  requestId: string;
  /** As a tenant's. */
  claim?: Claim;
}

/** One request of a person who is signed in, in no tenant yet. */
export interface PersonContext extends PlatformContext {
  person: Person;
  /** Work within a tenant, once for an idempotency key of the request; the answer as JSON has it. */
  inTenant(tenant: string, work: (ctx: TenantContext) => Promise<unknown>): Promise<unknown>;
}

interface ContextOf {
  platform: PlatformContext;
  person: PersonContext;
}
type ScopeOf<N extends RouteName> = (typeof routes)[N]['scope'];

/** A verb: its scope is checked and its input parsed before, its output checked after. */
export type Service<N extends RouteName> = (
  ctx: ScopeOf<N> extends keyof ContextOf ? ContextOf[ScopeOf<N>] : TenantContext,
  input: RouteParsed<N>,
) => Promise<RouteOutput<N>>;
