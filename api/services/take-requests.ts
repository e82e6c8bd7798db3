import { takeTokens, type Db } from '@armature/db';
import { requestRate } from '../limits.ts';

/** Requests of a tenant's bucket, from the database that all processes share. */
export async function takeRequests(
  db: Db,
  tenantId: string,
  bucket: { name: string; share: number },
  wanted: number,
): Promise<{ granted: number; retryAfterS: number }> {
  const { perSecond, burst } = requestRate;
  return takeTokens(db, { tenantId, ...bucket, perSecond, burst }, wanted);
}
