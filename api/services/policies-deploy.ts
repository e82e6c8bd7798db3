import { and, embodiments, eq } from '@armature/db';
import type { Service } from './context.ts';
import { findPolicyVersion } from './find.ts';
import { presentPolicyVersion } from './present.ts';
import { mutate } from './mutate.ts';

/** Makes a version the one that new sessions of its embodiment get; open sessions keep theirs. */
export const deployPolicy: Service<'policies.deploy'> = async (ctx, { id }) =>
  mutate(ctx, async (tx, note) => {
    const row = await findPolicyVersion(tx, ctx.tenant, id);
    await tx
      .update(embodiments)
      .set({ activePolicyVersionId: id })
      .where(and(eq(embodiments.tenantId, ctx.tenant), eq(embodiments.id, row.embodimentId)));
    note(id, { embodiment_id: row.embodimentId });
    return presentPolicyVersion(row, true);
  });
