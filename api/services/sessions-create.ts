import { newId, sessions } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { findEmbodiment, findPolicyVersion, needUnretired } from './find.ts';
import { versionFor } from './canary.ts';
import { holderOf } from './key-limits.ts';
import { grantSession, pickServeWorker } from './session-grant.ts';
import { mutate } from './mutate.ts';
import { limitOf, needRobot } from './quotas.ts';

/** A robot's session on a serve worker, with the version it names, the deployed one or its canary. */
export const createSession: Service<'sessions.create'> = async (ctx, input) => {
  const rows = await mutate(ctx, async (tx, note) => {
    const { tenant } = ctx;
    const holder = await holderOf(tx, ctx);
    await needRobot(tx, holder);
    const embodiment = await findEmbodiment(tx, tenant, input.embodiment_id, 'embodiment_id');
    const id = newId('ses');
    const versionId = input.policy_version_id ?? versionFor(embodiment, id);
    if (versionId === null) {
      throw new ArmatureError('conflict', `embodiment ${embodiment.id} has no deployed policy`, {
        field: 'policy_version_id',
        fix: 'Deploy a policy version of this embodiment, or name one.',
      });
    }
    const version = await findPolicyVersion(tx, tenant, versionId, 'policy_version_id');
    if (version.embodimentId !== embodiment.id) {
      throw new ArmatureError(
        'embodiment_mismatch',
        `policy_version_id: ${version.id} is of embodiment ${version.embodimentId}, not ${embodiment.id}`,
        { field: 'policy_version_id', fix: 'Name a version of this embodiment.' },
      );
    }
    needUnretired(version, 'policy_version_id');
    const worker = await pickServeWorker(tx);
    const [session] = await tx
      .insert(sessions)
      .values({
        id,
        tenantId: tenant,
        robot: input.robot,
        embodimentId: embodiment.id,
        policyVersionId: version.id,
        options: input,
        workerId: worker.id,
        keyLineage: holder.lineage,
      })
      .returning();
    if (session === undefined) throw new Error('insert gave no row');
    note(session.id, { robot: session.robot, policy_version_id: version.id });
    const share = await limitOf(tx, tenant, 'serve_share');
    return { session, embodiment, version, worker, share };
  });
  return grantSession(ctx, rows);
};
