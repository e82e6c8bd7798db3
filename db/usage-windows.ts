import { eq, sql } from 'drizzle-orm';
import type { Tx } from './connection.ts';
import { usageCursors } from './schema.ts';

/** Length of a window. Days of every time zone begin on a quarter of an hour. */
export const WINDOW_MS = 15 * 60_000;
/** How long after its end a window waits for events before it is closed. */
const GRACE_MS = 15 * 60_000;

/** Up to where windows can be closed at an instant. */
export function closableUntil(now: Date): Date {
  return new Date(now.getTime() - GRACE_MS);
}

/**
 * Keeps writers of usage and the closing of windows apart until the transaction ends, so that a
 * window that is closed has all that was written to it. Writers do not wait for each other.
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
 * Closes the tenant's windows that end at or before `until`, within `withTenant`: their sums by
 * session, version and fine-tune are written under ids that are derived from those and the window,
 * and the cursor moves last. Again, and at the same time elsewhere, it changes nothing.
 *
 * @returns up to where windows are closed now
 */
export async function closeUsageWindows(tx: Tx, tenantId: string, until: Date): Promise<Date> {
  const end = new Date(Math.floor(until.getTime() / WINDOW_MS) * WINDOW_MS);
  const before = await usageClosedUntil(tx, tenantId);
  if (before !== null && before >= end) return before;
  await lockUsage(tx, 'close');
  // Another may have closed them while this waited.
  const closed = await usageClosedUntil(tx, tenantId);
  if (closed !== null && closed >= end) return closed;
  const from = sql`coalesce(${closed?.toISOString() ?? null}::timestamptz, '-infinity')`;
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
