import * as z from 'zod';

/** Limits and quotas of a tenant. */
export const limitNameSchema = z.enum([
  'requests_per_s',
  'requests_burst',
  'storage_bytes',
  'concurrent_jobs',
  'concurrent_robots',
  'compute_s_per_month',
  'cost_per_month',
  'webhooks',
  'serve_share',
]);
export type LimitName = z.infer<typeof limitNameSchema>;

/** What a tenant may use where the operator has granted it nothing else. */
export const limitDefaults = {
  /** Requests a second of all keys of a tenant together, and how many may come at once. */
  requests_per_s: 500,
  requests_burst: 10_000,
  /** Bytes of all data sets and of the policy versions that have not expired. */
  storage_bytes: 2 ** 40,
  /** Fine-tunes that wait or run. */
  concurrent_jobs: 20,
  /** Robots whose session is in use. */
  concurrent_robots: 200,
  /** Seconds of computation of a calendar month (UTC). */
  compute_s_per_month: 30 * 24 * 3600,
  /**
   * Amount of a calendar month (UTC), in the currency of the price sheet, beyond which no fine-tune
   * starts.
   */
  cost_per_month: 100_000,
  /** Addresses that are told of the same event, each by a message of its own. */
  webhooks: 20,
  /** Weight of the tenant's robots where engines have less time than all of them want. */
  serve_share: 1,
} as const satisfies Record<LimitName, number>;

/**
 * Quotas that a key can have of its own, within the tenant's: of what the key made, and the keys that it
 * was rotated to or from.
 */
export const keyLimitNameSchema = limitNameSchema.extract([
  'storage_bytes',
  'concurrent_jobs',
  'concurrent_robots',
  'compute_s_per_month',
]);
export type KeyLimitName = z.infer<typeof keyLimitNameSchema>;

/** A name that is not there has no limit beside the tenant's. */
export const keyLimitsSchema = z.partialRecord(keyLimitNameSchema, z.number().nonnegative());
export type KeyLimits = z.infer<typeof keyLimitsSchema>;
