import { sql } from 'drizzle-orm';
import type { Tx } from './connection.ts';

/**
 * Seconds of computation that a tenant has used in this calendar month (UTC), within `withTenant`: of closed
 * windows, of what came since, and of the fine-tunes that run, up to now.
 *
 * @param lineage of what these keys made alone; null for all of the tenant's
 */
export async function computeUsedS(
  tx: Tx,
  tenant: string,
  lineage: string | null,
): Promise<number> {
  const month = sql`date_trunc('month', now() at time zone 'UTC') at time zone 'UTC'`;
  const open = sql`greatest(${month}, (select closed_until from usage_cursors where tenant_id = ${tenant}))`;
  const made = (table: 'sessions' | 'finetunes') =>
    sql`(select id from ${sql.identifier(table)} where tenant_id = ${tenant} and key_lineage = ${lineage})`;
  const whose =
    lineage === null
      ? sql`true`
      : sql`session_id in ${made('sessions')} or finetune_id in ${made('finetunes')}`;
  const [row] = await tx.execute<{ seconds: string }>(sql`
    select coalesce(sum(us), 0) / 1000000.0 as seconds from (
      select compute_us + training_us as us, session_id, finetune_id from usage_windows
        where tenant_id = ${tenant} and window_at >= ${month}
      union all
      select compute_us, session_id, null from usage_events
        where tenant_id = ${tenant} and window_at >= ${open}
      union all
      select compute_us, null, finetune_id from training_usage
        where tenant_id = ${tenant} and window_at >= ${open}
      union all
      select extract(epoch from now() - greatest(claimed_at, ${month})) * 1000000, null, subject_id
        from jobs
        where tenant_id = ${tenant} and kind = 'finetune' and status = 'running'
          and lease_until > now() and claimed_at is not null
    ) used
    where ${whose}`);
  if (row === undefined) throw new Error('a sum gave no row');
  return Number(row.seconds);
}
