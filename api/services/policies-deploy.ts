import { and, embodiments, eq } from '@armature/db';
import type { Service } from './context.ts';
import { lockPolicyVersion, needUnretired } from './find.ts';
import { presentPolicyVersion } from './present.ts';
import { mutate } from './mutate.ts';

/**
 * Makes a version the one that all new sessions of its embodiment get; open sessions keep theirs. A
 * canary ends with it, whether it was this version or another.
 */
export const deployPolicy: Service<'policies.deploy'> = async (ctx, { id }) =>
  mutate(ctx, async (tx, note) => {
    const { version: row } = await lockPolicyVersion(tx, ctx.tenant, id);
    needUnretired(row, 'id');
    await tx
      .update(embodiments)
      .set({
        activePolicyVersionId: id,
        canaryPolicyVersionId: null,
        canaryShare: null,
        canarySince: null,
      })
      .where(and(eq(embodiments.tenantId, ctx.tenant), eq(embodiments.id, row.embodimentId)));
    note(id, { embodiment_id: row.embodimentId });
    return presentPolicyVersion(row, true);
  });
