import {
  and,
  closableUntil,
  closeUsage,
  eq,
  gte,
  lt,
  usageWindows,
  withTenant,
} from '@armature/db';
import type { Service } from './context.ts';
import { keyset, pageOf } from './page.ts';
import { presentUsed } from './present-used.ts';

import { usagePeriod } from './usage-period.ts';

/** Closed windows of a period, newest first; closes those that are due before. */
export const listUsageLines: Service<'usage.lines'> = async (ctx, input) => {
  const now = ctx.clock();
  const { from, to } = usagePeriod(input, now);
  const { where, orderBy, limit } = keyset(input, usageWindows.windowAt, usageWindows.id);
  await closeUsage(ctx.db, ctx.tenant, closableUntil(now));
  const rows = await withTenant(ctx.db, ctx.tenant, (tx) =>
    tx
      .select()
      .from(usageWindows)
      .where(
        and(
          eq(usageWindows.tenantId, ctx.tenant),
          gte(usageWindows.windowAt, from),
          lt(usageWindows.windowAt, to),
          where,
        ),
      )
      .orderBy(...orderBy)
      .limit(limit),
  );
  return pageOf(
    input,
    rows.map((row) => ({ ...row, createdAt: row.windowAt })),
    (row) => {
      const sheet = ctx.prices.indexAt(row.windowAt);
      return {
        id: row.id,
        window_at: row.windowAt.toISOString(),
        session_id: row.sessionId,
        robot: row.robot,
        policy_version_id: row.policyVersionId,
        finetune_id: row.finetuneId,
        ...presentUsed({ ...row, cost: ctx.prices.cost(sheet, row) }),
        price_sheet: ctx.prices.at(sheet).version,
      };
    },
  );
};
