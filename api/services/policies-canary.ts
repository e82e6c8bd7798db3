import { and, embodiments, eq, sql } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { lockPolicyVersion, needUnretired } from './find.ts';
import { mutate } from './mutate.ts';
import { presentEmbodiment } from './present.ts';

/**
 * Gives a version to a share of its embodiment's new sessions, in place of an earlier canary; a share
 * of 0 ends it where it is the canary.
 */
export const canaryPolicy: Service<'policies.canary'> = async (ctx, { id, share }) =>
  mutate(ctx, async (tx, note) => {
    const { version, embodiment: before } = await lockPolicyVersion(tx, ctx.tenant, id);
    const { activePolicyVersionId: active, canaryPolicyVersionId: canary } = before;
    if (share === 0 && canary !== id) return presentEmbodiment(before);
    if (share > 0) {
      needUnretired(version, 'id');
      if (active === null || active === id) {
        const what = active === null ? 'has no deployed version' : 'has this version deployed';
        throw new ArmatureError('conflict', `embodiment ${before.id} ${what}`, {
          field: 'id',
          fix: 'Deploy one version and make another its canary.',
        });
      }
    }
    const [row] = await tx
      .update(embodiments)
      .set({
        canaryPolicyVersionId: share === 0 ? null : id,
        canaryShare: share === 0 ? null : share,
        // Another share of the same canary goes on with its record.
        canarySince: share === 0 ? null : canary === id ? before.canarySince : sql`now()`,
      })
      .where(and(eq(embodiments.tenantId, ctx.tenant), eq(embodiments.id, before.id)))
      .returning();
    if (row === undefined) throw new Error('update gave no row');
    note(id, { embodiment_id: before.id, share });
    return presentEmbodiment(row);
  });
