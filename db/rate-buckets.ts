import { sql } from 'drizzle-orm';
import type { Db } from './connection.ts';
import { redactDatabaseError } from './errors.ts';

export interface Bucket {
  readonly tenantId: string;
  readonly name: string;
  /** Share of the tenant's rate that this bucket has, 0 to 1. */
  readonly share: number;
  /** Requests a second of the tenant, where `tenant_limits` has no `requests_per_s`. */
  readonly perSecond: number;
  /** Requests at once of the tenant, where `tenant_limits` has no `requests_burst`. */
  readonly burst: number;
}

/**
 * Takes up to `wanted` tokens of a bucket that every process shares, in one round trip.
 * @returns how many were granted, and in how many seconds the next is free when none was
 * @throws DatabaseError
 */
export async function takeTokens(
  db: Db,
  bucket: Bucket,
  wanted: number,
): Promise<{ granted: number; retryAfterS: number }> {
  const { tenantId, name, share, perSecond, burst } = bucket;
  try {
    const [row] = await db.orm.execute<{ granted: number; retry_after_s: number }>(
      sql`select granted, retry_after_s from armature_take(${tenantId}, ${name}, ${share}, ${perSecond}, ${burst}, ${wanted})`,
    );
    if (row === undefined) throw new Error('armature_take gave no row');
    return { granted: row.granted, retryAfterS: row.retry_after_s };
  } catch (error) {
    throw redactDatabaseError(error);
  }
}
