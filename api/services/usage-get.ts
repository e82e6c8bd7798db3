import { closableUntil, closeUsage, withTenant } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import { MAX_SUMS, usageSums } from '../metering/usage-lines.ts';
import type { Service } from './context.ts';
import { findSession, findTenant } from './find.ts';
import { presentUsed, type PricedSum } from './present-used.ts';
import { usagePeriod } from './usage-period.ts';

/** Of a year's report, and of its days in any time zone. */
const MAX_DAYS = 400;
const MAX_PERIOD_MS = MAX_DAYS * 86_400_000;

const NOTHING: PricedSum = {
  chunks: 0,
  actions: 0,
  reasoningTokens: 0,
  computeUs: 0,
  trainingUs: 0,
  cost: 0n,
};

/** Sums of what was served and trained, and what they cost; closes the windows that are due. */
export const getUsage: Service<'usage.get'> = async (ctx, input) => {
  const now = ctx.clock();
  const { from, to, open } = usagePeriod(input, now);
  if (to.getTime() - from.getTime() > MAX_PERIOD_MS) {
    throw new ArmatureError('invalid_request', `from: lies more than ${MAX_DAYS} days before to`, {
      field: 'from',
      fix: 'Ask for one part of the period after another.',
    });
  }
  const closedUntil = await closeUsage(ctx.db, ctx.tenant, closableUntil(now));
  return withTenant(ctx.db, ctx.tenant, async (tx) => {
    const { timeZone } = await findTenant(tx, ctx.tenant);
    if (input.session_id !== undefined) {
      await findSession(tx, ctx.tenant, input.session_id, 'session_id');
    }
    const rows = await usageSums(tx, ctx.prices, {
      tenant: ctx.tenant,
      from,
      to: open ? null : to,
      sessionId: input.session_id,
      robot: input.robot,
      by: input.group_by,
      timeZone,
      closedUntil,
    });
    if (rows.length > MAX_SUMS) {
      throw new ArmatureError('invalid_request', `group_by: has more than ${MAX_SUMS} sums`, {
        field: 'group_by',
        fix: 'Ask for a shorter period, or page through the lines of usage.',
      });
    }
    const sums = new Map<string, PricedSum>();
    for (const row of rows) {
      const priced = { ...row, cost: ctx.prices.cost(row.sheet, row) };
      sums.set(row.key, add(sums.get(row.key) ?? NOTHING, priced));
    }
    return {
      from: from.toISOString(),
      to: to.toISOString(),
      time_zone: timeZone,
      currency: ctx.prices.currency,
      closed_until: closedUntil.toISOString(),
      items: [...sums].map(([key, sum]) => ({ key, ...presentUsed(sum) })),
      totals: presentUsed([...sums.values()].reduce(add, NOTHING)),
    };
  });
};

function add(a: PricedSum, b: PricedSum): PricedSum {
  return {
    chunks: a.chunks + b.chunks,
    actions: a.actions + b.actions,
    reasoningTokens: a.reasoningTokens + b.reasoningTokens,
    computeUs: a.computeUs + b.computeUs,
    trainingUs: a.trainingUs + b.trainingUs,
    cost: a.cost + b.cost,
  };
}
