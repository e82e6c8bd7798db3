import { and, eq, policyVersions } from '@armature/db';
import type { Service } from './context.ts';
import { findEmbodiment, findPolicyVersion } from './find.ts';
import { mutate } from './mutate.ts';
import { presentPolicyVersion } from './present.ts';

/** Records what a version scored in a simulator, in place of an earlier score. */
export const scorePolicy: Service<'policies.score'> = async (ctx, { id, ...simulated }) =>
  mutate(ctx, async (tx, note) => {
    const before = await findPolicyVersion(tx, ctx.tenant, id);
    const embodiment = await findEmbodiment(tx, ctx.tenant, before.embodimentId);
    const [row] = await tx
      .update(policyVersions)
      .set({ simulated })
      .where(and(eq(policyVersions.tenantId, ctx.tenant), eq(policyVersions.id, id)))
      .returning();
    if (row === undefined) throw new Error('update gave no row');
    note(id, simulated);
    return presentPolicyVersion(row, embodiment.activePolicyVersionId === id);
  });
