import {
  and,
  asc,
  eq,
  serveWorkers,
  sql,
  type embodiments,
  type policyVersions,
  type sessions,
  type Tx,
} from '@armature/db';
import {
  announceUrl,
  ArmatureError,
  embodimentSpecSchema,
  sessionOptionsSchema,
  type SessionGrant,
} from '@armature/sdk/contract';
import type { TenantContext } from './context.ts';
import { presentSession } from './present.ts';

/** A worker that has been silent for this long gets no sessions. */
const HEARTBEAT_FRESH_S = 15;
/** Observations that a session may have on the way at a time. */
const MAX_IN_FLIGHT = 4;
/** A tenant whose share is less still moves. */
const LEAST_SHARE = 0.01;

export interface ServeWorker {
  id: string;
  url: string;
}

/**
 * The worker for a session: `preferred` while it is ready, else the ready one with the fewest.
 * @throws ArmatureError `unavailable` when none is ready.
 */
export async function pickServeWorker(
  tx: Tx,
  wishes: { readonly preferred?: string; readonly avoidUrl?: string | undefined } = {},
): Promise<ServeWorker> {
  const ready = await tx
    .select({ id: serveWorkers.id, url: serveWorkers.url })
    .from(serveWorkers)
    .where(
      and(
        eq(serveWorkers.state, 'ready'),
        sql`${serveWorkers.heartbeatAt} > now() - ${HEARTBEAT_FRESH_S} * interval '1 second'`,
      ),
    )
    .orderBy(asc(serveWorkers.sessions), asc(serveWorkers.id));
  const others = ready.filter(({ url }) => url !== wishes.avoidUrl);
  const worker = others.find(({ id }) => id === wishes.preferred) ?? others[0] ?? ready[0];
  if (worker === undefined) {
    throw new ArmatureError('unavailable', 'no serve worker is ready', {
      fix: 'Try again in a few seconds; if it stays so, have the operator start a serve worker.',
    });
  }
  return worker;
}

/** The answer to a robot: where to connect, and the token that it shows there. */
export async function grantSession(
  ctx: TenantContext,
  rows: {
    session: typeof sessions.$inferSelect;
    embodiment: typeof embodiments.$inferSelect;
    version: typeof policyVersions.$inferSelect;
    worker: ServeWorker;
    /** The tenant's limit `serve_share`. */
    share: number;
  },
): Promise<SessionGrant> {
  const { session, embodiment, version, worker, share } = rows;
  const spec = embodimentSpecSchema.parse(embodiment.spec);
  const options = sessionOptionsSchema.parse(session.options);
  const { token, expiresAt } = await ctx.tokens.issue(
    {
      sub: session.id,
      tenant: ctx.tenant,
      robot: session.robot,
      worker: worker.id,
      embodiment: { id: embodiment.id, spec },
      policy: { version_id: version.id, digest: version.digest, prefix: version.prefix },
      ...(options.sampler === undefined ? {} : { sampler: options.sampler }),
      reasoning: options.reasoning,
      epoch: session.epoch,
      limits: {
        max_in_flight: MAX_IN_FLIGHT,
        max_hz: options.max_hz ?? spec.control_hz,
        share: Math.max(LEAST_SHARE, share),
      },
    },
    ctx.clock(),
  );
  return {
    session: presentSession(session),
    url: worker.url,
    announce_url: announceUrl(worker.url),
    token,
    token_expires_at: expiresAt.toISOString(),
    embodiment: spec,
  };
}
