import { and, embodiments, eq, policyVersions, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { keyset, pageOf } from './page.ts';
import { presentPolicyVersion } from './present.ts';

export const listPolicies: Service<'policies.list'> = async (ctx, input) => {
  const { where, orderBy, limit } = keyset(input, policyVersions.createdAt, policyVersions.id);
  const rows = await withTenant(ctx.db, ctx.tenant, (tx) =>
    tx
      .select({ version: policyVersions, active: embodiments.activePolicyVersionId })
      .from(policyVersions)
      .innerJoin(
        embodiments,
        and(
          eq(embodiments.tenantId, policyVersions.tenantId),
          eq(embodiments.id, policyVersions.embodimentId),
        ),
      )
      .where(and(eq(policyVersions.tenantId, ctx.tenant), where))
      .orderBy(...orderBy)
      .limit(limit),
  );
  return pageOf(
    input,
    rows.map(({ version, active }) => ({ ...version, active: active === version.id })),
    (row) => presentPolicyVersion(row, row.active),
  );
};
