import {
  and,
  computeUsedS,
  count,
  datasets,
  eq,
  finetunes,
  inArray,
  isNull,
  keyLimit,
  ne,
  policyVersions,
  sql,
  tenantLimit,
  webhookEndpoints,
  type Tx,
} from '@armature/db';
import {
  ArmatureError,
  limitDefaults,
  liveFinetuneStatuses,
  SESSION_TOKEN_MAX_LIFE_S,
  type KeyLimitName,
  type LimitName,
} from '@armature/sdk/contract';
import type { Holder } from './key-limits.ts';

type QuotaName = Exclude<LimitName, 'requests_per_s' | 'requests_burst' | 'serve_share'>;

/** Minutes after which a session without a chunk or a new token counts as a robot that is gone. */
const IDLE_MINUTES = 10;
/** A session without a new token for so long has no robot: no token lives longer. */
const GONE_MINUTES = SESSION_TOKEN_MAX_LIFE_S / 60 + IDLE_MINUTES;

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
  return (await tenantLimit(tx, tenant, name)) ?? limitDefaults[name];
}

/**
 * Data sets count, and policy versions whose files are there: also retired ones, until their files are taken away.
 * @throws ArmatureError `quota_exceeded` where another set of `bytes` does not fit.
 */
export async function needStorage(tx: Tx, holder: Holder, bytes: number): Promise<void> {
  const { tenant } = holder;
  await oneAtATime(tx, tenant, 'storage_bytes');
  const remedy = 'Delete data sets, or wait until retired policy versions expire';
  await needShared(tx, holder, { name: 'storage_bytes', remedy }, async (lineage) => {
    const [sets] = await tx
      .select({ used: sql`coalesce(sum(${datasets.bytes}), 0)`.mapWith(Number) })
      .from(datasets)
      .where(
        and(eq(datasets.tenantId, tenant), ne(datasets.status, 'deleted'), by(datasets, lineage)),
      );
    const made =
      lineage === null
        ? undefined
        : inArray(
            policyVersions.finetuneId,
            tx
              .select({ id: finetunes.id })
              .from(finetunes)
              .where(and(eq(finetunes.tenantId, tenant), by(finetunes, lineage))),
          );
    const [versions] = await tx
      .select({ used: sql`coalesce(sum(${policyVersions.bytes}), 0)`.mapWith(Number) })
      .from(policyVersions)
      .where(and(eq(policyVersions.tenantId, tenant), isNull(policyVersions.expiredAt), made));
    return (sets?.used ?? 0) + (versions?.used ?? 0) + bytes;
  });
}

/** @throws ArmatureError `quota_exceeded` where one more fine-tune is too many. */
export async function needJob(tx: Tx, holder: Holder): Promise<void> {
  const { tenant } = holder;
  await needCompute(tx, holder);
  await oneAtATime(tx, tenant, 'concurrent_jobs');
  const isLive = inArray(finetunes.status, [...liveFinetuneStatuses]);
  const quota = { name: 'concurrent_jobs', remedy: 'Wait for a fine-tune to end' } as const;
  await needShared(tx, holder, quota, async (lineage) => {
    const [row] = await tx
      .select({ live: count() })
      .from(finetunes)
      .where(and(eq(finetunes.tenantId, tenant), isLive, by(finetunes, lineage)));
    return (row?.live ?? 0) + 1;
  });
}

/** @throws ArmatureError `quota_exceeded` where one more robot is too many. */
export async function needRobot(tx: Tx, holder: Holder): Promise<void> {
  await needCompute(tx, holder);
  await needPlace(tx, holder, null);
}

/**
 * For a robot that comes back: it has its place while it counts.
 * @throws ArmatureError `quota_exceeded` where it does not, and is one too many.
 */
export async function needRobotAgain(tx: Tx, holder: Holder, sessionId: string): Promise<void> {
  await needCompute(tx, holder);
  const [live] = await tx.execute(
    sql`select from sessions where ${liveSessions(holder.tenant)} and sessions.id = ${sessionId}`,
  );
  if (live === undefined) await needPlace(tx, holder, sessionId);
}

/** @param but a session that is not counted beside the one that needs the place */
async function needPlace(tx: Tx, holder: Holder, but: string | null): Promise<void> {
  const { tenant } = holder;
  await oneAtATime(tx, tenant, 'concurrent_robots');
  const quota = { name: 'concurrent_robots', remedy: 'End sessions' } as const;
  await needShared(tx, holder, quota, async (lineage) => {
    const made = lineage === null ? sql`true` : sql`sessions.key_lineage = ${lineage}`;
    const [row] = await tx.execute<{ live: string }>(sql`
      select count(*) as live from sessions
      where ${liveSessions(tenant)} and ${made} and sessions.id is distinct from ${but}`);
    return Number(row?.live ?? 0) + 1;
  });
}

/** Sessions that count as robots, in a query of `sessions`. Those of long ago are passed over by an index. */
function liveSessions(tenant: string): ReturnType<typeof sql> {
  const within = (minutes: number) => sql`now() - ${minutes} * interval '1 minute'`;
  return sql`sessions.tenant_id = ${tenant} and sessions.ended_at is null
    and sessions.granted_at > ${within(GONE_MINUTES)} and (
      sessions.granted_at > ${within(IDLE_MINUTES)}
      or exists (
        select from usage_events used
        where used.tenant_id = ${tenant} and used.session_id = sessions.id
          and used.at > ${within(IDLE_MINUTES)}
      )
    )`;
}

/**
 * Whoever has used it up begins nothing; a robot gets no new token, a fine-tune is paused by a sweep.
 * @throws ArmatureError `quota_exceeded` where the month's computation is used up.
 */
export async function needCompute(tx: Tx, holder: Holder): Promise<void> {
  const quota = { name: 'compute_s_per_month', remedy: 'Wait for the next month' } as const;
  await needShared(tx, holder, quota, (lineage) => computeUsedS(tx, holder.tenant, lineage));
}

/** @throws ArmatureError `quota_exceeded` where one more webhook is too many. */
export async function needWebhook(tx: Tx, tenant: string): Promise<void> {
  await oneAtATime(tx, tenant, 'webhooks');
  const [row] = await tx
    .select({ have: count() })
    .from(webhookEndpoints)
    .where(eq(webhookEndpoints.tenantId, tenant));
  await need(tx, tenant, { name: 'webhooks', remedy: 'Delete a webhook' }, (row?.have ?? 0) + 1);
}

/**
 * @param would what the month would have cost with one more fine-tune, in the currency
 * @throws ArmatureError `quota_exceeded` where that is more than the tenant's limit.
 */
export async function needBudget(tx: Tx, tenant: string, would: string): Promise<void> {
  await need(tx, tenant, { name: 'cost_per_month', remedy: 'Train fewer steps' }, Number(would));
}

interface Quota<N extends QuotaName> {
  readonly name: N;
  /** What the caller can do without the operator. */
  readonly remedy: string;
}

/** @param would what would be used, by what these keys made or, for null, by all of the tenant */
async function needShared(
  tx: Tx,
  { tenant, lineage }: Holder,
  quota: Quota<KeyLimitName>,
  would: (lineage: string | null) => Promise<number>,
): Promise<void> {
  await need(tx, tenant, quota, await would(null));
  if (lineage === null) return;
  const most = await keyLimit(tx, { tenant, lineage }, quota.name);
  if (most === undefined) return;
  const used = await would(lineage);
  if (used > most) throw exceeded({ ...quota, limit: `${quota.name}_per_key`, used, most });
}

async function need(tx: Tx, tenant: string, quota: Quota<QuotaName>, used: number): Promise<void> {
  const most = await limitOf(tx, tenant, quota.name);
  if (used > most) throw exceeded({ ...quota, limit: quota.name, used, most });
}

function exceeded(
  of: Quota<QuotaName> & { readonly limit: string; readonly used: number; readonly most: number },
): ArmatureError {
  const wait = askAgainIn[of.name];
  const raise =
    of.limit === of.name
      ? `have the operator raise ${of.name}`
      : `have an admin of the tenant raise ${of.name} of the key`;
  const message = `${of.limit}: ${of.used} is more than the quota of ${of.most}`;
  return new ArmatureError('quota_exceeded', message, {
    limit: of.limit,
    retryAfterS: wait === 'next month' ? secondsToNextMonth(new Date()) : wait,
    fix: `${of.remedy}, or ${raise}.`,
  });
}

/** Until this transaction ends, no other of the tenant counts what is used of the quota. */
async function oneAtATime(tx: Tx, tenant: string, name: QuotaName): Promise<void> {
  const key = `quota ${tenant} ${name}`;
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${key}, 0))`);
}

function by(
  table: typeof datasets | typeof finetunes,
  lineage: string | null,
): ReturnType<typeof eq> | undefined {
  return lineage === null ? undefined : eq(table.keyLineage, lineage);
}

function secondsToNextMonth(now: Date): number {
  const next = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1);
  return Math.ceil((next - now.getTime()) / 1000);
}
