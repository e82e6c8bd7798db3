import { and, embodiments, eq, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { findPolicyVersion } from './find.ts';
import { presentPolicyVersion } from './present.ts';

/** Makes a version the one that new sessions of its embodiment get; open sessions keep theirs. */
export const deployPolicy: Service<'policies.deploy'> = async (ctx, { id }) =>
  withTenant(ctx.db, ctx.tenant, async (tx) => {
    const row = await findPolicyVersion(tx, ctx.tenant, id);
    await tx
      .update(embodiments)
      .set({ activePolicyVersionId: id })
      .where(and(eq(embodiments.tenantId, ctx.tenant), eq(embodiments.id, row.embodimentId)));
    return presentPolicyVersion(row, true);
  });
