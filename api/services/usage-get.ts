import { and, count, eq, gte, lt, sql, usageEvents, withTenant } from '@armature/db';
import { ArmatureError, type Usage } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { findSession } from './find.ts';

/** How far back usage is read when `from` is absent. */
const DEFAULT_WINDOW_MS = 30 * 24 * 3600 * 1000;

const keys = {
  day: sql<string>`to_char(${usageEvents.at} at time zone 'UTC', 'YYYY-MM-DD')`,
  session: sql<string>`${usageEvents.sessionId}`,
  policy_version: sql<string>`${usageEvents.policyVersionId}`,
} as const;

/** Sums of what was served, `from` inclusive, `to` exclusive; without `to`, up to the latest. */
export const getUsage: Service<'usage.get'> = async (ctx, input) => {
  const to = input.to === undefined ? ctx.clock() : new Date(input.to);
  const from =
    input.from === undefined ? new Date(to.getTime() - DEFAULT_WINDOW_MS) : new Date(input.from);
  if (from >= to) {
    throw new ArmatureError('invalid_request', 'from: does not lie before to', {
      field: 'from',
      fix: 'Give an earlier from.',
    });
  }
  const key = keys[input.group_by];
  const items = await withTenant(ctx.db, ctx.tenant, async (tx) => {
    if (input.session_id !== undefined) {
      await findSession(tx, ctx.tenant, input.session_id, 'session_id');
    }
    return tx
      .select({
        key,
        chunks: count(),
        actions: sql`sum(${usageEvents.actions})`.mapWith(Number),
        reasoning_tokens: sql`sum(${usageEvents.reasoningTokens})`.mapWith(Number),
        compute_ms: sql`sum(${usageEvents.computeUs}) / 1000.0`.mapWith(Number),
      })
      .from(usageEvents)
      .where(
        and(
          eq(usageEvents.tenantId, ctx.tenant),
          gte(usageEvents.at, from),
          input.to === undefined ? undefined : lt(usageEvents.at, to),
          input.session_id === undefined ? undefined : eq(usageEvents.sessionId, input.session_id),
        ),
      )
      .groupBy(key)
      .orderBy(key);
  });
  return { from: from.toISOString(), to: to.toISOString(), items, totals: totalsOf(items) };
};

function totalsOf(items: Usage['items']): Usage['totals'] {
  const totals = { chunks: 0, actions: 0, reasoning_tokens: 0, compute_ms: 0 };
  for (const item of items) {
    totals.chunks += item.chunks;
    totals.actions += item.actions;
    totals.reasoning_tokens += item.reasoning_tokens;
    totals.compute_ms += item.compute_ms;
  }
  return totals;
}
