import { and, eq, inArray, jobs, sql, type Tx } from '@armature/db';

/** How often each fine-tune was begun, by id. */
export async function attemptsOf(
  tx: Tx,
  tenant: string,
  finetuneIds: readonly string[],
): Promise<Map<string, number>> {
  if (finetuneIds.length === 0) return new Map();
  const rows = await tx
    .select({ id: jobs.subjectId, attempt: sql`sum(${jobs.attempt})`.mapWith(Number) })
    .from(jobs)
    .where(
      and(
        eq(jobs.tenantId, tenant),
        eq(jobs.kind, 'finetune'),
        inArray(jobs.subjectId, [...finetuneIds]),
      ),
    )
    .groupBy(jobs.subjectId);
  return new Map(rows.map(({ id, attempt }) => [id, attempt]));
}
