import { ArmatureError } from '@armature/sdk/contract';

/** Tokens of a bucket that all processes share. */
export type TakeTokens = (
  tenantId: string,
  bucket: { name: string; share: number },
  wanted: number,
) => Promise<{ granted: number; retryAfterS: number }>;

export interface RateLimiterOptions {
  readonly take: TakeTokens;
  /** Share of a tenant's rate that a single key may take, 0 to 1. */
  readonly keyShare: number;
  /** Tokens fetched at a time: what a process holds and has not used is lost to the others. */
  readonly batch: number;
  /** A monotonic clock, ms. */
  readonly nowMs: () => number;
  /** Buckets held in this process. */
  readonly capacity?: number;
}

/** How long fetched tokens are good for, in ms: a process that is idle does not hoard. */
const HELD_MS = 1_000;

interface Held {
  tokens: number;
  until: number;
}

/**
 * Admits requests by tenant and by key. The buckets lie in the database, so that the limit holds
 * over all processes; each fetches a few tokens at a time.
 */
export class RateLimiter {
  readonly #options: RateLimiterOptions;
  readonly #held = new Map<string, Held>();

  constructor(options: RateLimiterOptions) {
    this.#options = options;
  }

  /** @throws ArmatureError `rate_limited` with the limit's name and when to try again. */
  async admit(tenantId: string, keyId: string): Promise<void> {
    const share = this.#options.keyShare;
    await this.#take(tenantId, 'requests_per_key', { name: `requests:${keyId}`, share });
    await this.#take(tenantId, 'requests', { name: 'requests', share: 1 });
  }

  async #take(
    tenantId: string,
    limit: string,
    bucket: { name: string; share: number },
  ): Promise<void> {
    const id = `${tenantId} ${bucket.name}`;
    const held = this.#held.get(id);
    if (held !== undefined && held.tokens > 0 && held.until > this.#options.nowMs()) {
      held.tokens -= 1;
      return;
    }
    const { granted, retryAfterS } = await this.#options.take(
      tenantId,
      bucket,
      this.#options.batch,
    );
    if (granted === 0) {
      throw new ArmatureError('rate_limited', `the limit ${limit} is reached`, {
        limit,
        retryAfterS: Math.max(0.001, retryAfterS),
        fix: `Wait ${Math.max(1, Math.ceil(retryAfterS))} s; if it stays so, ask for a higher limit.`,
      });
    }
    this.#keep(id, granted - 1);
  }

  #keep(id: string, tokens: number): void {
    this.#held.delete(id);
    if (this.#held.size >= (this.#options.capacity ?? 10_000)) {
      const [oldest] = this.#held.keys();
      if (oldest !== undefined) this.#held.delete(oldest);
    }
    this.#held.set(id, { tokens, until: this.#options.nowMs() + HELD_MS });
  }
}
