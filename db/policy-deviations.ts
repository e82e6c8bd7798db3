import { and, eq, sql } from 'drizzle-orm';
import type { Tx } from './connection.ts';
import { policyDeviations } from './schema.ts';

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
