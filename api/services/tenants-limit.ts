import { and, eq, tenantLimits, tenants, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { notFound } from './find.ts';
import { writeAudit } from './mutate.ts';

/** Grants a tenant a limit of its own; `null` takes it back. */
export const limitTenant: Service<'tenants.limit'> = async (ctx, { id, name, value }) =>
  withTenant(ctx.db, id, async (tx) => {
    const [tenant] = await tx.select({ id: tenants.id }).from(tenants).where(eq(tenants.id, id));
    if (tenant === undefined) throw notFound('tenant', id, 'id');
    const mine = and(eq(tenantLimits.tenantId, id), eq(tenantLimits.name, name));
    if (value === null) await tx.delete(tenantLimits).where(mine);
    else {
      await tx
        .insert(tenantLimits)
        .values({ tenantId: id, name, value })
        .onConflictDoUpdate({
          target: [tenantLimits.tenantId, tenantLimits.name],
          set: { value },
        });
    }
    const by = { tenant: id, actor: 'platform', verb: 'tenants.limit', requestId: ctx.requestId };
    await writeAudit(tx, by, [[id, { name, value }]]);
    return { name, value };
  });
