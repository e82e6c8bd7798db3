import { and, desc, eq, finetunes, inArray, sql, usageClosedUntil, type Tx } from '@armature/db';
import {
  datasetReportSchema,
  finetuneEstimateSchema,
  liveFinetuneStatuses,
  trainSummarySchema,
  type FinetuneEstimate,
  type FinetuneMode,
  type FinetuneOptions,
} from '@armature/sdk/contract';
import { estimateTraining } from '../metering/estimate.ts';
import { decimalOf, picoOf, type Pico } from '../metering/money.ts';
import { trainingRates } from '../metering/training-rates.ts';
import { usageSums } from '../metering/usage-lines.ts';
import type { TenantContext } from './context.ts';
import type { FinetuneSets } from './finetune-sets.ts';
import { needBudget } from './quotas.ts';

/** Fine-tunes whose speed says what the next will have. */
const LATEST = 20;

/**
 * What a fine-tune of these sets is expected to take and cost.
 * @throws ArmatureError `quota_exceeded` (`cost_per_month`) where the month has no room for it
 *   beside what was used and what its other fine-tunes are expected to cost.
 */
export async function estimateCost(
  tx: Tx,
  ctx: TenantContext,
  sets: FinetuneSets,
  options: FinetuneOptions,
): Promise<FinetuneEstimate> {
  const reports = [sets.dataset, ...sets.added].map(({ report }) =>
    datasetReportSchema.nullable().parse(report),
  );
  const heldout = datasetReportSchema.nullable().parse(sets.heldout?.report ?? null);
  const { steps, seconds, basis } = estimateTraining({
    options,
    sets: reports.filter((report) => report !== null),
    heldoutFrames: heldout?.frames ?? 0,
    measured: await measuredRate(tx, ctx.tenant, options.mode),
    rates: trainingRates,
  });
  const now = ctx.clock();
  const sheet = ctx.prices.indexAt(now);
  const cost = ctx.prices.cost(sheet, {
    chunks: 0,
    actions: 0,
    reasoningTokens: 0,
    computeUs: 0,
    trainingUs: seconds * 1_000_000,
  });
  const before = await spentThisMonth(tx, ctx);
  await needBudget(tx, ctx.tenant, decimalOf(before + (await reserved(tx, ctx.tenant)) + cost));
  return {
    steps,
    seconds,
    cost: decimalOf(cost),
    currency: ctx.prices.currency,
    price_sheet: ctx.prices.at(sheet).version,
    basis,
  };
}

/** Median samples a second of the tenant's latest fine-tunes of a mode; null without any. */
async function measuredRate(tx: Tx, tenant: string, mode: FinetuneMode): Promise<number | null> {
  const rows = await tx
    .select({ train: finetunes.train })
    .from(finetunes)
    .where(
      and(
        eq(finetunes.tenantId, tenant),
        eq(finetunes.status, 'succeeded'),
        sql`${finetunes.train}->>'mode' = ${mode}`,
      ),
    )
    .orderBy(desc(finetunes.createdAt))
    .limit(LATEST);
  const rates = rows
    .map(({ train }) => trainSummarySchema.parse(train).samples_per_s)
    .filter((rate) => rate > 0)
    .sort((a, b) => a - b);
  return rates[Math.floor(rates.length / 2)] ?? null;
}

async function spentThisMonth(tx: Tx, ctx: TenantContext): Promise<Pico> {
  const { tenant } = ctx;
  const now = ctx.clock();
  const sums = await usageSums(tx, ctx.prices, {
    tenant,
    from: new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), 1)),
    to: null,
    by: 'day',
    timeZone: 'UTC',
    closedUntil: (await usageClosedUntil(tx, tenant)) ?? new Date(0),
  });
  return sums.reduce((sum, row) => sum + ctx.prices.cost(row.sheet, row), 0n);
}

/** What fine-tunes that wait or run were expected to cost. */
async function reserved(tx: Tx, tenant: string): Promise<Pico> {
  const rows = await tx
    .select({ estimate: finetunes.estimate })
    .from(finetunes)
    .where(
      and(eq(finetunes.tenantId, tenant), inArray(finetunes.status, [...liveFinetuneStatuses])),
    );
  return rows
    .map(({ estimate }) => finetuneEstimateSchema.nullable().parse(estimate))
    .reduce((sum, estimate) => sum + (estimate === null ? 0n : picoOf(estimate.cost)), 0n);
}
