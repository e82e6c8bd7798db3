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

/** How long a process may use what it was lent, counted from before it asked, ms. */
export const LENT_MS = 1_000;

/** What became of the tokens that a process was lent before. */
export interface Settled {
  readonly used: number;
  readonly unused: number;
  /** Seconds since the last of them was used. */
  readonly idleS: number;
  /** `lentIn` of the answer that lent them. */
  readonly lentIn: number;
}

export interface Lent {
  readonly granted: number;
  /** In how many seconds the next is free when none was granted. */
  readonly retryAfterS: number;
  readonly lentIn: number;
}

/**
 * Takes up to `wanted` tokens of a bucket that every process shares, for `LENT_MS`, and gives back
 * what was not used of those taken before, in one round trip.
 *
 * @param at the instant that counts, the server's own when absent
 * @throws DatabaseError
 */
export async function takeTokens(
  db: Db,
  bucket: Bucket,
  wanted: number,
  settled: Settled | null,
  at?: Date,
): Promise<Lent> {
  const { tenantId, name, share, perSecond, burst } = bucket;
  const { used, unused, idleS, lentIn } = settled ?? { used: 0, unused: 0, idleS: 0, lentIn: 0 };
  const now = at === undefined ? sql`clock_timestamp()` : sql`${at.toISOString()}::timestamptz`;
  try {
    const [row] = await db.orm.execute<{
      granted: number;
      retry_after_s: number;
      lent_in: string;
    }>(
      sql`select granted, retry_after_s, lent_in from armature_take_at(${now}, ${tenantId}, ${name}, ${share}, ${perSecond}, ${burst}, ${wanted}, ${used}, ${unused}, ${idleS}, ${lentIn})`,
    );
    if (row === undefined) throw new Error('armature_take_at gave no row');
    return {
      granted: row.granted,
      retryAfterS: row.retry_after_s,
      lentIn: Number(row.lent_in),
    };
  } catch (error) {
    throw redactDatabaseError(error);
  }
}
