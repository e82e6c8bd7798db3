import { eq, sql, type SQL } from 'drizzle-orm';
import { withTenant, type Db, type Tx } from './connection.ts';
import { usageCursors } from './schema.ts';

/** Length of a window. Days of every time zone begin on a quarter of an hour. */
export const WINDOW_MS = 15 * 60_000;
/** How long after its end a window waits for events before it is closed. */
const GRACE_MS = 15 * 60_000;
/** Of how much time the usage is summed in one transaction, which has to end in a statement's time. */
const STEP_MS = 86_400_000;

/** Up to where windows can be closed at an instant. */
export function closableUntil(now: Date): Date {
  return new Date(now.getTime() - GRACE_MS);
}

/**
 * Keeps writers of usage and the closing of windows apart until the transaction ends, so that a
 * window that is closed has all that was written to it. Writers do not wait for each other; one of them,
 * `armature_write_records`, takes the same lock in SQL.
 */
export async function lockUsage(tx: Tx, as: 'write' | 'close'): Promise<void> {
  const key = sql`hashtextextended('usage ' || armature_tenant(), 0)`;
  await tx.execute(
    as === 'write'
      ? sql`select pg_advisory_xact_lock_shared(${key})`
      : sql`select pg_advisory_xact_lock(${key})`,
  );
}

/** Up to where the tenant's windows are closed; null before the first was. */
export async function usageClosedUntil(tx: Tx, tenantId: string): Promise<Date | null> {
  const [row] = await tx.select().from(usageCursors).where(eq(usageCursors.tenantId, tenantId));
  return row?.closedUntil ?? null;
}

/**
 * Closes all of the tenant's windows that end at or before `until`, a day of usage a transaction: however
 * many were left open, each step ends and is kept.
 *
 * @returns up to where windows are closed now
 */
export async function closeUsage(db: Db, tenantId: string, until: Date): Promise<Date> {
  const end = wholeWindows(until);
  for (;;) {
    const closed = await withTenant(db, tenantId, (tx) => closeUsageWindows(tx, tenantId, end));
    if (closed >= end) return closed;
  }
}

/**
 * Closes the next of the tenant's windows that end at or before `until`, within `withTenant`: those of a day
 * from the first that has usage. Their sums by session, version and fine-tune are written under ids that are
 * derived from those and the window, and the cursor moves last. Again, and at the same time elsewhere, it
 * changes nothing.
 *
 * @returns up to where windows are closed now
 */
export async function closeUsageWindows(tx: Tx, tenantId: string, until: Date): Promise<Date> {
  const last = wholeWindows(until);
  const before = await usageClosedUntil(tx, tenantId);
  if (before !== null && before >= last) return before;
  await lockUsage(tx, 'close');
  // Another may have closed them while this waited.
  const closed = await usageClosedUntil(tx, tenantId);
  if (closed !== null && closed >= last) return closed;
  const from = sql`coalesce(${closed?.toISOString() ?? null}::timestamptz, '-infinity')`;
  const first = await firstUsage(tx, tenantId, from);
  const step = first === null ? last : new Date(wholeWindows(first).getTime() + STEP_MS);
  const end = step < last ? step : last;
  const to = sql`${end.toISOString()}::timestamptz`;
  const window = sql`date_bin('15 minutes', used.window_at, 'epoch'::timestamptz)`;
  const number = sql`extract(epoch from ${window})::bigint`;
  await tx.execute(sql`
    insert into usage_windows (id, tenant_id, window_at, session_id, robot, policy_version_id,
      chunks, actions, reasoning_tokens, compute_us, training_us)
    select used.session_id || ':' || used.policy_version_id || ':' || ${number}, used.tenant_id,
      ${window}, used.session_id, sessions.robot, used.policy_version_id,
      count(*), sum(used.actions), sum(used.reasoning_tokens), sum(used.compute_us), 0
    from usage_events used
    join sessions on sessions.tenant_id = used.tenant_id and sessions.id = used.session_id
    where used.tenant_id = ${tenantId} and used.window_at >= ${from} and used.window_at < ${to}
    group by used.tenant_id, used.session_id, sessions.robot, used.policy_version_id, ${window}
    on conflict do nothing`);
  await tx.execute(sql`
    insert into usage_windows (id, tenant_id, window_at, finetune_id,
      chunks, actions, reasoning_tokens, compute_us, training_us)
    select used.finetune_id || ':' || ${number}, used.tenant_id, ${window}, used.finetune_id,
      0, 0, 0, 0, sum(used.compute_us)
    from training_usage used
    where used.tenant_id = ${tenantId} and used.window_at >= ${from} and used.window_at < ${to}
    group by used.tenant_id, used.finetune_id, ${window}
    on conflict do nothing`);
  await tx
    .insert(usageCursors)
    .values({ tenantId, closedUntil: end })
    .onConflictDoUpdate({ target: usageCursors.tenantId, set: { closedUntil: end } });
  return end;
}

/** When the first usage at or after `from` counts; null where there is none. */
async function firstUsage(tx: Tx, tenantId: string, from: SQL): Promise<Date | null> {
  const first = (table: 'usage_events' | 'training_usage') => sql`(
    select min(window_at) from ${sql.identifier(table)}
    where tenant_id = ${tenantId} and window_at >= ${from})`;
  const [row] = await tx.execute<{ ms: number | null }>(sql`
    select extract(epoch from least(${first('usage_events')}, ${first('training_usage')}))::float8 * 1000
      as ms`);
  if (row === undefined) throw new Error('a minimum gave no row');
  return row.ms === null ? null : new Date(row.ms);
}

function wholeWindows(instant: Date): Date {
  return new Date(Math.floor(instant.getTime() / WINDOW_MS) * WINDOW_MS);
}
