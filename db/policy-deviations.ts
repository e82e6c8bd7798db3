import { and, eq, sql } from 'drizzle-orm';
import type { Tx } from './connection.ts';
import { policyDeviations } from './schema.ts';

/** How far a robot was from where a chunk had it go, in shares of the joints' ranges. */
export interface Deviation {
  readonly policyVersionId: string;
  readonly sessionId: string;
  readonly deviation: number;
}

/** Adds deviations up in the windows of the minute that it is, in the transaction that writes their chunks. */
export async function countDeviations(tx: Tx, deviations: readonly Deviation[]): Promise<void> {
  const sums = new Map<string, Deviation & { chunks: number }>();
  for (const { policyVersionId, sessionId, deviation } of deviations) {
    const key = `${policyVersionId} ${sessionId}`;
    const { chunks, deviation: before } = sums.get(key) ?? { chunks: 0, deviation: 0 };
    const sum = { policyVersionId, sessionId, chunks: chunks + 1, deviation: before + deviation };
    sums.set(key, sum);
  }
  // In one order for all, or two writers might wait for each other.
  const rows = [...sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, sum]) => sum);
  if (rows.length === 0) return;
  const { tenantId, policyVersionId, sessionId, windowAt, chunks, deviation } = policyDeviations;
  await tx
    .insert(policyDeviations)
    .values(
      rows.map((row) => ({
        ...row,
        tenantId: sql`armature_tenant()`,
        windowAt: sql`date_trunc('minute', now())`,
      })),
    )
    .onConflictDoUpdate({
      target: [tenantId, policyVersionId, sessionId, windowAt],
      set: {
        chunks: sql`${chunks} + excluded.chunks`,
        deviation: sql`${deviation} + excluded.deviation`,
      },
    });
}

/** Mean deviation of each session that ran a version in windows from `since` on, before `until`. */
export async function sessionDeviations(
  tx: Tx,
  tenant: string,
  versionId: string,
  { since, until }: { readonly since: Date; readonly until: Date },
): Promise<number[]> {
  const { tenantId, policyVersionId, sessionId, windowAt, chunks, deviation } = policyDeviations;
  const rows = await tx
    .select({ mean: sql`sum(${deviation}) / sum(${chunks})`.mapWith(Number) })
    .from(policyDeviations)
    .where(
      and(
        eq(tenantId, tenant),
        eq(policyVersionId, versionId),
        sql`${windowAt} >= ${since.toISOString()}::timestamptz`,
        sql`${windowAt} < ${until.toISOString()}::timestamptz`,
        sql`${windowAt} < date_trunc('minute', now())`,
      ),
    )
    .groupBy(sessionId);
  return rows.map(({ mean }) => mean);
}
