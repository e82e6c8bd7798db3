import { ArmatureError } from '@armature/sdk/contract';

/** What became of tokens that were lent before. */
export interface Settled {
  readonly used: number;
  readonly unused: number;
  /** Seconds since the last of them was used. */
  readonly idleS: number;
  readonly lentIn: number;
}

interface Bucket {
  readonly name: string;
  /** Share of the tenant's rate, 0 to 1. */
  readonly share: number;
}

/** Tokens of a bucket that all processes share; those that were not used go back with the call. */
export type TakeTokens = (
  tenantId: string,
  bucket: Bucket,
  wanted: number,
  settled: Settled | null,
) => Promise<{ granted: number; retryAfterS: number; lentIn: number }>;

export interface RateLimiterOptions {
  readonly take: TakeTokens;
  /** Share of a tenant's rate that a single key may take, 0 to 1. */
  readonly keyShare: number;
  /** Tokens fetched at a time. */
  readonly batch: number;
  /** How long fetched tokens may be used, ms; after that they only go back. */
  readonly lentMs: number;
  /** A monotonic clock, ms. */
  readonly nowMs: () => number;
  /** Buckets held in this process. */
  readonly capacity?: number;
}

/** Tokens as one fetch brought them. */
interface Lease {
  tokens: number;
  used: number;
  lastUsed: number;
  readonly lentIn: number;
  readonly until: number;
}

interface Held {
  readonly tenantId: string;
  readonly limit: string;
  readonly bucket: Bucket;
  lease: Lease | null;
  /** One fetch serves all requests that wait for it; how long to wait, where it brought none. */
  fetching: Promise<{ retryAfterS: number } | null> | null;
}

/**
 * Admits requests by tenant and by key. The buckets lie in the database, so that the limit holds
 * over all processes; each fetches a few tokens at a time and gives back what it did not use.
 */
export class RateLimiter {
  readonly #options: RateLimiterOptions;
  readonly #held = new Map<string, Held>();

  constructor(options: RateLimiterOptions) {
    this.#options = options;
  }

  /** @throws ArmatureError `rate_limited` with the limit's name and when to try again. */
  async admit(tenantId: string, keyId: string): Promise<void> {
    const ofTenant = { name: 'requests', share: 1 };
    const ofKey = { name: `requests:${keyId}`, share: this.#options.keyShare };
    const lease = await this.#take(await this.#hold(tenantId, 'requests_per_key', ofKey));
    try {
      await this.#take(await this.#hold(tenantId, 'requests_per_s', ofTenant));
    } catch (error) {
      // Not admitted, so the key has used nothing.
      lease.tokens += 1;
      lease.used -= 1;
      throw error;
    }
  }

  async #take(held: Held): Promise<Lease> {
    const { nowMs } = this.#options;
    for (;;) {
      const { lease } = held;
      const now = nowMs();
      if (lease !== null && lease.tokens > 0 && now < lease.until) {
        lease.tokens -= 1;
        lease.used += 1;
        lease.lastUsed = now;
        return lease;
      }
      held.fetching ??= this.#fetch(held).finally(() => {
        held.fetching = null;
      });
      const refused = await held.fetching;
      if (refused !== null) throw limited(held.limit, refused.retryAfterS);
    }
  }

  async #fetch(held: Held): Promise<{ retryAfterS: number } | null> {
    const { batch, lentMs, nowMs } = this.#options;
    const asked = nowMs();
    const { granted, retryAfterS, lentIn } = await this.#exchange(held, batch);
    if (granted === 0) return { retryAfterS };
    held.lease = { tokens: granted, used: 0, lastUsed: asked, lentIn, until: asked + lentMs };
    return null;
  }

  /** A lease is forgotten before it is given back: an answer that is lost must not double it. */
  #exchange(held: Held, wanted: number): ReturnType<TakeTokens> {
    const { tenantId, bucket, lease } = held;
    held.lease = null;
    if (lease === null) return this.#options.take(tenantId, bucket, wanted, null);
    const { used, tokens: unused, lentIn } = lease;
    const idleS = Math.max(0, this.#options.nowMs() - lease.lastUsed) / 1000;
    return this.#options.take(tenantId, bucket, wanted, { used, unused, idleS, lentIn });
  }

  /** The bucket as this process holds it; the one that was not asked for longest makes room. */
  async #hold(tenantId: string, limit: string, bucket: Bucket): Promise<Held> {
    const id = `${tenantId} ${bucket.name}`;
    const held = this.#held.get(id) ?? { tenantId, limit, bucket, lease: null, fetching: null };
    this.#held.delete(id);
    this.#held.set(id, held);
    if (this.#held.size > (this.#options.capacity ?? 10_000)) {
      const [oldest] = this.#held;
      if (oldest !== undefined) {
        this.#held.delete(oldest[0]);
        if (oldest[1].lease !== null) await this.#exchange(oldest[1], 0);
      }
    }
    return held;
  }
}

function limited(limit: string, retryAfterS: number): ArmatureError {
  return new ArmatureError('rate_limited', `the limit ${limit} is reached`, {
    limit,
    retryAfterS: Math.max(0.001, retryAfterS),
    fix: `Wait ${Math.max(1, Math.ceil(retryAfterS))} s; if it stays so, ask for a higher limit.`,
  });
}
