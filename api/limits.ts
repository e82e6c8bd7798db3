import type { LimitName } from '@armature/sdk/contract';

/** What a tenant may use where the operator has granted it nothing else. */
export const limitDefaults = {
  /** Requests a second of all keys of a tenant together, and how many may come at once. */
  requests_per_s: 500,
  requests_burst: 10_000,
  /** Bytes of all data sets. */
  storage_bytes: 2 ** 40,
  /** Fine-tunes that wait or run. */
  concurrent_jobs: 20,
  /** Robots whose session is in use. */
  concurrent_robots: 200,
  /** Seconds of computation of a calendar month (UTC). */
  compute_s_per_month: 30 * 24 * 3600,
  /** Amount of a calendar month (UTC), in the currency of the price sheet, beyond which no
   * fine-tune starts. */
  cost_per_month: 100_000,
  /** Addresses that are told of the same event, each by a message of its own. */
  webhooks: 20,
  /** Weight of the tenant's robots where engines have less time than all of them want. */
  serve_share: 1,
} as const satisfies Record<LimitName, number>;

/** The share of a tenant's request rate that one of its keys may take. */
export const KEY_SHARE = 0.5;

/** Requests of all keys of a tenant; a process fetches `batch` of them at a time. */
export const requestRate = {
  perSecond: limitDefaults.requests_per_s,
  burst: limitDefaults.requests_burst,
  batch: 10,
} as const;
