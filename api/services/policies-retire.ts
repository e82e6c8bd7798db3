import { and, eq, policyVersions, sql } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { lockPolicyVersion } from './find.ts';
import { mutate } from './mutate.ts';
import { presentPolicyVersion } from './present.ts';

/** Lets a version have no new sessions any more; open sessions keep it. Again is no error. */
export const retirePolicy: Service<'policies.retire'> = async (ctx, { id }) =>
  mutate(ctx, async (tx, note) => {
    const { version: before, embodiment } = await lockPolicyVersion(tx, ctx.tenant, id);
    if (before.retiredAt !== null) return presentPolicyVersion(before, false);
    if ([embodiment.activePolicyVersionId, embodiment.canaryPolicyVersionId].includes(id)) {
      throw new ArmatureError('conflict', `policy version ${id} is deployed or a canary`, {
        field: 'id',
        fix: 'Deploy another version, or end the canary, first.',
      });
    }
    const [row] = await tx
      .update(policyVersions)
      .set({ retiredAt: sql`now()` })
      .where(and(eq(policyVersions.tenantId, ctx.tenant), eq(policyVersions.id, id)))
      .returning();
    if (row === undefined) throw new Error('update gave no row');
    note(id, { embodiment_id: row.embodimentId });
    return presentPolicyVersion(row, false);
  });
