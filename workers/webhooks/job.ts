import {
  and,
  eq,
  holdLease,
  LeaseLostError,
  settle,
  sql,
  webhookDeliveries,
  webhookEndpoints,
  withTenant,
  type ClaimedJob,
  type Db,
  type Tx,
} from '@armature/db';
import type { Logger } from 'pino';
import { LeaseLost, Stopping } from '../jobs/reasons.ts';
import { runHeld } from '../jobs/run-held.ts';
import { postSafely, ReceiverRefused, type PostOptions } from './post.ts';
import { signedHeaders } from './sign.ts';

export interface DeliveryServices {
  readonly db: Db;
  readonly log: Logger;
  /** A monotonic clock, ms. */
  readonly nowMs: () => number;
  readonly clock: () => Date;
  readonly beatMs: number;
  readonly timeoutMs: number;
  readonly allowLoopback: boolean;
  readonly resolve?: PostOptions['resolve'];
}

/** Waits after each attempt that failed, as Standard Webhooks proposes: about three days in all. */
export const RETRY_S = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400] as const;
/** After a failure of ours the message is tried again this soon, ms. */
const OURS_MS = 5_000;

/** What came of one attempt. */
interface Outcome {
  readonly status: number | null;
  readonly error: string | null;
}

/**
 * Sends one message once and settles its job: delivered on 2xx, else queued for the next attempt or
 * given up after the last. A worker that is lost in between sends it again: receivers tell repeats by
 * its id. Never throws.
 */
export async function runDelivery(
  job: ClaimedJob,
  claimedAtMs: number,
  services: DeliveryServices,
  stop: AbortSignal,
): Promise<void> {
  const { db, nowMs, beatMs } = services;
  const log = services.log.child({ job: job.id, delivery: job.subjectId });
  await runHeld({
    job,
    claimedAtMs,
    db,
    beatMs,
    nowMs,
    log,
    stop,
    work: async (lease) => {
      const found = await withTenant(db, job.tenantId, (tx) => read(tx, job));
      if (found === null) {
        await withTenant(db, job.tenantId, (tx) => settle(tx, job, { status: 'cancelled' }));
        return;
      }
      const outcome = await attempt(found, services, lease.signal);
      lease.assertHeld();
      await record(job, found, outcome, services);
      log.info(outcome, 'told');
    },
    conclude: async (reason) => {
      if (reason instanceof LeaseLost || reason instanceof LeaseLostError) return;
      const delayMs = reason instanceof Stopping ? 0 : OURS_MS;
      if (delayMs > 0) log.error({ err: reason }, 'a message was not sent, for a reason of ours');
      await withTenant(db, job.tenantId, (tx) => settle(tx, job, { status: 'queued', delayMs }));
    },
  });
}

type Found = NonNullable<Awaited<ReturnType<typeof read>>>;

/** The message and where it goes; null where it is not to be sent any more. */
async function read(tx: Tx, { tenantId, subjectId }: ClaimedJob) {
  const [row] = await tx
    .select({ delivery: webhookDeliveries, endpoint: webhookEndpoints })
    .from(webhookDeliveries)
    .innerJoin(
      webhookEndpoints,
      and(
        eq(webhookEndpoints.tenantId, webhookDeliveries.tenantId),
        eq(webhookEndpoints.id, webhookDeliveries.endpointId),
      ),
    )
    .where(and(eq(webhookDeliveries.tenantId, tenantId), eq(webhookDeliveries.id, subjectId)));
  return row?.delivery.status === 'pending' ? row : null;
}

async function attempt(
  { delivery, endpoint }: Found,
  o: DeliveryServices,
  signal: AbortSignal,
): Promise<Outcome> {
  if (!endpoint.enabled) return { status: null, error: 'the endpoint is not enabled' };
  const at = o.clock();
  const body = JSON.stringify(delivery.payload);
  const { secret, previousSecret, previousUntil } = endpoint;
  const overlaps = previousSecret !== null && previousUntil !== null && previousUntil > at;
  const secrets = overlaps ? [secret, previousSecret] : [secret];
  try {
    const { status } = await postSafely({
      url: endpoint.url,
      body,
      headers: signedHeaders({ id: delivery.id, body, at }, secrets),
      timeoutMs: o.timeoutMs,
      allowLoopback: o.allowLoopback,
      signal,
      ...(o.resolve === undefined ? {} : { resolve: o.resolve }),
    });
    return { status, error: null };
  } catch (error) {
    if (signal.aborted) throw error;
    return { status: null, error: reasonFor(error) };
  }
}

/** What the tenant is told: why, and nothing of the network that the worker stands in. */
function reasonFor(error: unknown): string {
  if (error instanceof ReceiverRefused) return error.message;
  if (error instanceof Error && error.name === 'AbortError') return 'no answer in time';
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
  return `the connection failed (${code})`;
}

async function record(
  job: ClaimedJob,
  { delivery, endpoint }: Found,
  { status, error }: Outcome,
  { db }: DeliveryServices,
): Promise<void> {
  const delivered = status !== null && status >= 200 && status < 300;
  const gone = status === 410;
  const wait = gone || !endpoint.enabled ? undefined : RETRY_S[delivery.attempts];
  const ended = delivered || wait === undefined;
  await withTenant(db, job.tenantId, async (tx) => {
    await holdLease(tx, job);
    await tx
      .update(webhookDeliveries)
      .set({
        status: delivered ? 'delivered' : ended ? 'failed' : 'pending',
        attempts: delivery.attempts + 1,
        answerStatus: status,
        error,
        ...(ended ? { endedAt: sql`now()` } : {}),
      })
      .where(
        and(eq(webhookDeliveries.tenantId, job.tenantId), eq(webhookDeliveries.id, delivery.id)),
      );
    if (gone) {
      await tx
        .update(webhookEndpoints)
        .set({ enabled: false })
        .where(
          and(eq(webhookEndpoints.tenantId, job.tenantId), eq(webhookEndpoints.id, endpoint.id)),
        );
    }
    await settle(
      tx,
      job,
      ended ? { status: 'succeeded' } : { status: 'queued', delayMs: wait * 1000 },
    );
  });
}
