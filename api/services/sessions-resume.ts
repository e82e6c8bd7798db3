import { and, eq, sessions, sql } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { findEmbodiment, findPolicyVersion, findSession } from './find.ts';
import { grantSession, pickServeWorker } from './session-grant.ts';
import { mutate } from './mutate.ts';
import { limitOf, needCompute } from './quotas.ts';

/** A token with the next epoch and for one worker: what is left of the old epoch is void there. */
export const resumeSession: Service<'sessions.resume'> = async (
  ctx,
  { id, worker: stay, avoid_url: avoidUrl },
) => {
  const rows = await mutate(ctx, async (tx, note) => {
    const { tenant } = ctx;
    const before = await findSession(tx, tenant, id);
    if (before.endedAt !== null) {
      throw new ArmatureError('conflict', `session ${id} has ended`, {
        field: 'id',
        fix: 'Create a new session.',
      });
    }
    await needCompute(tx, { tenant, lineage: before.keyLineage });
    const worker = await pickServeWorker(tx, { preferred: stay ?? before.workerId, avoidUrl });
    const [session] = await tx
      .update(sessions)
      .set({ epoch: sql`${sessions.epoch} + 1`, workerId: worker.id })
      .where(and(eq(sessions.tenantId, tenant), eq(sessions.id, id)))
      .returning();
    if (session === undefined) throw new Error('update gave no row');
    const embodiment = await findEmbodiment(tx, tenant, session.embodimentId);
    const version = await findPolicyVersion(tx, tenant, session.policyVersionId);
    note(id, { epoch: session.epoch });
    const share = await limitOf(tx, tenant, 'serve_share');
    return { session, embodiment, version, worker, share };
  });
  return grantSession(ctx, rows);
};
