import {
  and,
  count,
  datasets,
  eq,
  finetunes,
  inArray,
  isNull,
  ne,
  policyVersions,
  sql,
  tenantLimits,
  webhookEndpoints,
  type Tx,
} from '@armature/db';
import { ArmatureError, liveFinetuneStatuses, type LimitName } from '@armature/sdk/contract';
import { limitDefaults } from '../limits.ts';

type QuotaName = Exclude<LimitName, 'requests_per_s' | 'requests_burst' | 'serve_share'>;

/** Minutes after which a session without a chunk counts as a robot that is gone. */
const IDLE_MINUTES = 10;

const MINUTE = 60;
const HOUR = 60 * MINUTE;

/** After how many seconds more may fit: at most so long, since others may give back what they use. */
const askAgainIn: Readonly<Record<QuotaName, number | 'next month'>> = {
  storage_bytes: HOUR,
  concurrent_jobs: MINUTE,
  concurrent_robots: MINUTE,
  webhooks: HOUR,
  cost_per_month: 'next month',
  compute_s_per_month: 'next month',
};

/** The tenant's own limit, or the default. */
export async function limitOf(tx: Tx, tenant: string, name: LimitName): Promise<number> {
  const [row] = await tx
    .select({ value: tenantLimits.value })
    .from(tenantLimits)
    .where(and(eq(tenantLimits.tenantId, tenant), eq(tenantLimits.name, name)));
  return row?.value ?? limitDefaults[name];
}

/**
 * Data sets and the policy versions that are not retired count.
 * @throws ArmatureError `quota_exceeded` where another set of `bytes` does not fit.
 */
export async function needStorage(tx: Tx, tenant: string, bytes: number): Promise<void> {
  await oneAtATime(tx, tenant, 'storage_bytes');
  const [sets] = await tx
    .select({ used: sql`coalesce(sum(${datasets.bytes}), 0)`.mapWith(Number) })
    .from(datasets)
    .where(and(eq(datasets.tenantId, tenant), ne(datasets.status, 'deleted')));
  const [versions] = await tx
    .select({ used: sql`coalesce(sum(${policyVersions.bytes}), 0)`.mapWith(Number) })
    .from(policyVersions)
    .where(and(eq(policyVersions.tenantId, tenant), isNull(policyVersions.retiredAt)));
  const used = (sets?.used ?? 0) + (versions?.used ?? 0);
  const remedy = 'Delete data sets or retire policy versions';
  await need(tx, tenant, 'storage_bytes', used + bytes, remedy);
}

/** @throws ArmatureError `quota_exceeded` where one more fine-tune is too many. */
export async function needJob(tx: Tx, tenant: string): Promise<void> {
  await oneAtATime(tx, tenant, 'concurrent_jobs');
  const [row] = await tx
    .select({ live: sql`count(*)`.mapWith(Number) })
    .from(finetunes)
    .where(
      and(eq(finetunes.tenantId, tenant), inArray(finetunes.status, [...liveFinetuneStatuses])),
    );
  await need(tx, tenant, 'concurrent_jobs', (row?.live ?? 0) + 1, 'Wait for a fine-tune to end');
  await needCompute(tx, tenant);
}

/** @throws ArmatureError `quota_exceeded` where one more robot is too many. */
export async function needRobot(tx: Tx, tenant: string): Promise<void> {
  await oneAtATime(tx, tenant, 'concurrent_robots');
  const [row] = await tx.execute<{ live: string }>(sql`
    select count(*) as live from sessions
    where sessions.tenant_id = ${tenant} and sessions.ended_at is null and (
      sessions.created_at > now() - ${IDLE_MINUTES} * interval '1 minute'
      or exists (
        select from usage_events used
        where used.tenant_id = ${tenant} and used.session_id = sessions.id
          and used.at > now() - ${IDLE_MINUTES} * interval '1 minute'
      )
    )`);
  await need(tx, tenant, 'concurrent_robots', Number(row?.live ?? 0) + 1, 'End sessions');
  await needCompute(tx, tenant);
}

/** @throws ArmatureError `quota_exceeded` where one more webhook is too many. */
export async function needWebhook(tx: Tx, tenant: string): Promise<void> {
  await oneAtATime(tx, tenant, 'webhooks');
  const [row] = await tx
    .select({ have: count() })
    .from(webhookEndpoints)
    .where(eq(webhookEndpoints.tenantId, tenant));
  await need(tx, tenant, 'webhooks', (row?.have ?? 0) + 1, 'Delete a webhook');
}

/**
 * @param would what the month would have cost with one more fine-tune, in the currency
 * @throws ArmatureError `quota_exceeded` where that is more than the tenant's limit.
 */
export async function needBudget(tx: Tx, tenant: string, would: string): Promise<void> {
  await need(tx, tenant, 'cost_per_month', Number(would), 'Train fewer steps');
}

async function needCompute(tx: Tx, tenant: string): Promise<void> {
  const month = sql`date_trunc('month', now() at time zone 'UTC') at time zone 'UTC'`;
  const [row] = await tx.execute<{ seconds: string }>(sql`
    select coalesce(sum(compute_us), 0) / 1000000.0 as seconds from (
      select compute_us from usage_events where tenant_id = ${tenant} and at >= ${month}
      union all
      select compute_us from training_usage where tenant_id = ${tenant} and at >= ${month}
    ) used`);
  const used = Number(row?.seconds ?? 0);
  await need(tx, tenant, 'compute_s_per_month', used, 'Wait for the next month');
}

/** Until this transaction ends, no other of the tenant counts what is used of the quota. */
async function oneAtATime(tx: Tx, tenant: string, name: QuotaName): Promise<void> {
  const key = `quota ${tenant} ${name}`;
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${key}, 0))`);
}

async function need(
  tx: Tx,
  tenant: string,
  name: QuotaName,
  would: number,
  remedy: string,
): Promise<void> {
  const most = await limitOf(tx, tenant, name);
  if (would <= most) return;
  const wait = askAgainIn[name];
  throw new ArmatureError('quota_exceeded', `${name}: ${would} is more than the quota of ${most}`, {
    limit: name,
    retryAfterS: wait === 'next month' ? secondsToNextMonth(new Date()) : wait,
    fix: `${remedy}, or have the operator raise ${name}.`,
  });
}

function secondsToNextMonth(now: Date): number {
  const next = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1);
  return Math.ceil((next - now.getTime()) / 1000);
}
