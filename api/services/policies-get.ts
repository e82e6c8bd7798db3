import { withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { findEmbodiment, findPolicyVersion } from './find.ts';
import { presentPolicyVersion } from './present.ts';

export const getPolicy: Service<'policies.get'> = async (ctx, { id }) =>
  withTenant(ctx.db, ctx.tenant, async (tx) => {
    const row = await findPolicyVersion(tx, ctx.tenant, id);
    const embodiment = await findEmbodiment(tx, ctx.tenant, row.embodimentId);
    return presentPolicyVersion(row, embodiment.activePolicyVersionId === id);
  });
