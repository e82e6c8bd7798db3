import { LENT_MS, takeTokens, type Db } from '@armature/db';
import { requestRate } from '../limits.ts';
import type { TakeTokens } from '../rate-limiter.ts';

/** How long requests that were taken may be used, ms. */
export const REQUESTS_LENT_MS = LENT_MS;

/** Takes requests from the buckets of the database that all processes share. */
export function takeRequests(db: Db): TakeTokens {
  const { perSecond, burst } = requestRate;
  return (tenantId, bucket, wanted, settled) =>
    takeTokens(db, { tenantId, ...bucket, perSecond, burst }, wanted, settled);
}
