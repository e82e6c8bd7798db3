import {
  and,
  auditLog,
  eq,
  newId,
  sql,
  webhookDeliveries,
  webhookEndpoints,
  webhookOwner,
  withTenant,
  type Db,
  type Queue,
  type QueuedWork,
  type Sealing,
  type Tx,
} from '@armature/db';
import type { Logger } from 'pino';
import { postSafely, ReceiverRefused, type PostOptions } from './post.ts';
import { signedHeaders } from './sign.ts';

export interface DeliveryServices {
  readonly db: Db;
  readonly queue: Pick<Queue, 'complete' | 'fail'>;
  readonly sealing: Sealing;
  readonly log: Logger;
  readonly clock: () => Date;
  readonly timeoutMs: number;
  readonly allowLoopback: boolean;
  readonly resolve?: PostOptions['resolve'];
}

/** What came of one attempt. */
interface Outcome {
  readonly status: number | null;
  readonly error: string | null;
}

/**
 * Sends one message once and ends or gives back its work: delivered on 2xx, else to be tried again, or
 * given up after the last try. A worker that is lost in between sends it again: receivers tell repeats by
 * its id. One whose work another has taken meanwhile records nothing. Never throws.
 */
export async function deliver(
  work: QueuedWork<'webhook'>,
  services: DeliveryServices,
): Promise<void> {
  const log = services.log.child({ work: work.id, delivery: work.data.delivery_id });
  try {
    const begun = await begin(work, services);
    if (begun === null) return;
    const outcome = await attempt(begun, services, log);
    const recorded = await record(work, begun, outcome, services);
    log.info({ ...outcome, recorded }, 'told');
  } catch (error) {
    // Nothing is recorded: the work runs out, and another worker finds it.
    log.error({ err: error }, 'what came of a message could not be recorded');
  }
}

type Begun = NonNullable<Awaited<ReturnType<typeof begin>>>;

/** Counts the attempt and reads what it needs; null, and the work is done, where there is nothing to send. */
async function begin(work: QueuedWork<'webhook'>, { db, queue }: DeliveryServices) {
  const { tenant_id: tenant } = work.data;
  return withTenant(db, tenant, async (tx) => {
    const [delivery] = await tx
      .update(webhookDeliveries)
      .set({ attempts: sql`${webhookDeliveries.attempts} + 1` })
      .where(waiting(work))
      .returning();
    if (delivery === undefined) {
      await queue.complete(work, tx);
      return null;
    }
    const [endpoint] = await tx
      .select()
      .from(webhookEndpoints)
      .where(
        and(eq(webhookEndpoints.tenantId, tenant), eq(webhookEndpoints.id, delivery.endpointId)),
      );
    if (endpoint === undefined) throw new Error('a message has no endpoint');
    return { delivery, endpoint };
  });
}

async function attempt(
  { delivery, endpoint }: Begun,
  o: DeliveryServices,
  log: Logger,
): Promise<Outcome> {
  if (!endpoint.enabled) return { status: null, error: 'the endpoint is not enabled' };
  const at = o.clock();
  const body = JSON.stringify(delivery.payload);
  try {
    const { status } = await postSafely({
      url: endpoint.url,
      body,
      headers: signedHeaders({ id: delivery.id, body, at }, secretsOf(endpoint, o.sealing, at)),
      timeoutMs: o.timeoutMs,
      allowLoopback: o.allowLoopback,
      ...(o.resolve === undefined ? {} : { resolve: o.resolve }),
    });
    return { status, error: null };
  } catch (error) {
    log.warn({ err: error }, 'a message did not arrive');
    return { status: null, error: reasonFor(error) };
  }
}

/** The newest secret first; the one before as well while they overlap. @throws SealingError */
function secretsOf(endpoint: Begun['endpoint'], sealing: Sealing, at: Date): string[] {
  const { tenantId, id, sealedSecret, sealedPrevious, previousUntil } = endpoint;
  const overlaps = sealedPrevious !== null && previousUntil !== null && previousUntil > at;
  return (overlaps ? [sealedSecret, sealedPrevious] : [sealedSecret]).map((sealed) =>
    sealing.open(sealed, webhookOwner(tenantId, id)),
  );
}

/** What the tenant is told: why, and nothing of the network that the worker stands in. */
function reasonFor(error: unknown): string {
  if (error instanceof ReceiverRefused) return error.message;
  if (!(error instanceof Error)) return 'unknown';
  if (error.name === 'SealingError') return 'the platform could not sign the message';
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return 'no answer in time';
  return `the connection failed (${'code' in error ? String(error.code) : 'unknown'})`;
}

/** Writes what came of an attempt, and ends or gives back the work; false where it is another's by now. */
async function record(
  work: QueuedWork<'webhook'>,
  { delivery, endpoint }: Begun,
  { status, error }: Outcome,
  { db, queue }: DeliveryServices,
): Promise<boolean> {
  const delivered = status !== null && status >= 200 && status < 300;
  const gone = status === 410;
  const ended = delivered || gone || !endpoint.enabled || work.isLast;
  return withTenant(db, delivery.tenantId, async (tx) => {
    const rows = await tx
      .update(webhookDeliveries)
      .set({
        status: delivered ? 'delivered' : ended ? 'failed' : 'pending',
        answerStatus: status,
        error,
        ...(ended ? { endedAt: sql`now()` } : {}),
      })
      .where(and(waiting(work), eq(webhookDeliveries.attempts, delivery.attempts)))
      .returning({ id: webhookDeliveries.id });
    if (rows.length === 0) return false;
    if (gone) await stopEndpoint(tx, endpoint, delivery.id);
    if (ended) await queue.complete(work, tx);
    else await queue.fail(work, error ?? `answered ${String(status)}`, tx);
    return true;
  });
}

/** A receiver that answers 410 wants to be told nothing more. */
async function stopEndpoint(
  tx: Tx,
  { tenantId, id }: Begun['endpoint'],
  deliveryId: string,
): Promise<void> {
  const mine = and(eq(webhookEndpoints.tenantId, tenantId), eq(webhookEndpoints.id, id));
  const stopped = await tx
    .update(webhookEndpoints)
    .set({ enabled: false })
    .where(and(mine, eq(webhookEndpoints.enabled, true)))
    .returning({ id: webhookEndpoints.id });
  if (stopped.length === 0) return;
  await tx.insert(auditLog).values({
    id: newId('aud'),
    tenantId,
    actor: 'platform',
    verb: 'webhooks.stop',
    subjectId: id,
    requestId: deliveryId,
    detail: { answer_status: 410 },
  });
}

/** The message while this work is the one that sends it. */
function waiting({ id, data }: QueuedWork<'webhook'>) {
  return and(
    eq(webhookDeliveries.tenantId, data.tenant_id),
    eq(webhookDeliveries.id, data.delivery_id),
    eq(webhookDeliveries.status, 'pending'),
    eq(webhookDeliveries.jobId, id),
  );
}
