import { sql, type Tx } from '@armature/db';
import { z } from 'zod';
import type { PriceSheets, Quantities } from './price-sheets.ts';

/** What usage is summed by. */
export type UsageKey = 'hour' | 'day' | 'session' | 'robot' | 'policy_version';

/** One more is given where there are more. */
export const MAX_SUMS = 10_000;

export interface UsageQuery {
  readonly tenant: string;
  /** Inclusive; a whole window. */
  readonly from: Date;
  /** Exclusive; a whole window, or null for all there is. */
  readonly to: Date | null;
  readonly sessionId?: string | undefined;
  readonly robot?: string | undefined;
  readonly by: UsageKey;
  /** Whose days and hours. */
  readonly timeZone: string;
  /** Up to where windows are closed. */
  readonly closedUntil: Date;
}

export interface UsageSum extends Quantities {
  readonly key: string;
  /** Number of the price sheet that held. */
  readonly sheet: number;
}

const whole = z.coerce.number().int();
const rowSchema = z.object({
  key: z.string(),
  sheet: whole,
  chunks: whole,
  actions: whole,
  reasoning_tokens: whole,
  compute_us: whole,
  training_us: whole,
});

/**
 * Sums of usage by key and price sheet, in the order of keys: closed windows as they were closed,
 * and what came since from its events. What training took has no robot, session or version; its
 * key is then `training`.
 */
export async function usageSums(tx: Tx, prices: PriceSheets, q: UsageQuery): Promise<UsageSum[]> {
  const { tenant } = q;
  const at = (instant: Date) => sql`${instant.toISOString()}::timestamptz`;
  const from = at(q.from);
  const to = q.to === null ? sql`'infinity'::timestamptz` : at(q.to);
  const closed = at(q.closedUntil);
  const local = sql`window_at at time zone ${q.timeZone}`;
  const keys = {
    hour: sql`to_char(${local}, 'YYYY-MM-DD HH24:00')`,
    day: sql`to_char(${local}, 'YYYY-MM-DD')`,
    session: sql`coalesce(session_id, 'training')`,
    robot: sql`coalesce(robot, 'training')`,
    policy_version: sql`coalesce(policy_version_id, 'training')`,
  } as const satisfies Record<UsageKey, unknown>;
  const changes = sql.join(
    prices.changes.map((instant) => sql`${instant}::timestamptz`),
    sql`, `,
  );
  const rows = await tx.execute(sql`
    with lines as (
      select window_at, session_id, robot, policy_version_id,
        chunks, actions, reasoning_tokens, compute_us, training_us
      from usage_windows
      where tenant_id = ${tenant} and window_at >= ${from} and window_at < least(${to}, ${closed})
      union all
      select used.window_at, used.session_id, sessions.robot, used.policy_version_id,
        1, used.actions, used.reasoning_tokens, used.compute_us, 0
      from usage_events used
      join sessions on sessions.tenant_id = used.tenant_id and sessions.id = used.session_id
      where used.tenant_id = ${tenant}
        and used.window_at >= greatest(${from}, ${closed}) and used.window_at < ${to}
      union all
      select window_at, null, null, null, 0, 0, 0, 0, compute_us
      from training_usage
      where tenant_id = ${tenant}
        and window_at >= greatest(${from}, ${closed}) and window_at < ${to}
    )
    select ${keys[q.by]} as key, width_bucket(window_at, array[${changes}]::timestamptz[]) as sheet,
      sum(chunks) as chunks, sum(actions) as actions, sum(reasoning_tokens) as reasoning_tokens,
      sum(compute_us) as compute_us, sum(training_us) as training_us
    from lines
    where (${q.sessionId ?? null}::text is null or session_id = ${q.sessionId ?? null})
      and (${q.robot ?? null}::text is null or robot = ${q.robot ?? null})
    group by 1, 2 order by 1, 2 limit ${MAX_SUMS + 1}`);
  return rows.map((raw) => {
    const row = rowSchema.parse(raw);
    return {
      key: row.key,
      sheet: row.sheet,
      chunks: row.chunks,
      actions: row.actions,
      reasoningTokens: row.reasoning_tokens,
      computeUs: row.compute_us,
      trainingUs: row.training_us,
    };
  });
}
