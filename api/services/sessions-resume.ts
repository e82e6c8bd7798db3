import { and, eq, isNull, sessions, sql } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { findEmbodiment, findPolicyVersion, findSession } from './find.ts';
import { grantSession, pickServeWorker } from './session-grant.ts';
import { mutate } from './mutate.ts';
import { limitOf, needRobotAgain } from './quotas.ts';

/** A token with the next epoch and for one worker: what is left of the old epoch is void there. */
export const resumeSession: Service<'sessions.resume'> = async (
  ctx,
  { id, worker: stay, avoid_url: avoidUrl },
) => {
  const rows = await mutate(ctx, async (tx, note) => {
    const { tenant } = ctx;
    const before = await findSession(tx, tenant, id);
    if (before.endedAt !== null) throw hasEnded(id);
    await needRobotAgain(tx, { tenant, lineage: before.keyLineage }, id);
    const worker = await pickServeWorker(tx, { preferred: stay ?? before.workerId, avoidUrl });
    const [session] = await tx
      .update(sessions)
      .set({ epoch: sql`${sessions.epoch} + 1`, workerId: worker.id, grantedAt: sql`now()` })
      .where(and(eq(sessions.tenantId, tenant), eq(sessions.id, id), isNull(sessions.endedAt)))
      .returning();
    // Ended meanwhile, by its robot or by a sweep.
    if (session === undefined) throw hasEnded(id);
    const embodiment = await findEmbodiment(tx, tenant, session.embodimentId);
    const version = await findPolicyVersion(tx, tenant, session.policyVersionId);
    note(id, { epoch: session.epoch });
    const share = await limitOf(tx, tenant, 'serve_share');
    return { session, embodiment, version, worker, share };
  });
  return grantSession(ctx, rows);
};

function hasEnded(id: string): ArmatureError {
  return new ArmatureError('conflict', `session ${id} has ended`, {
    field: 'id',
    fix: 'Create a new session.',
  });
}
