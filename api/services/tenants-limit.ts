import { and, eq, tenantLimits, tenants } from '@armature/db';
import type { Service } from './context.ts';
import { notFound } from './find.ts';
import { administer } from './mutate.ts';

/** Grants a tenant a limit of its own; `null` takes it back. */
export const limitTenant: Service<'tenants.limit'> = async (ctx, { id, name, value }) =>
  administer(ctx, { tenant: id, verb: 'tenants.limit' }, async (tx, note) => {
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
    note(id, { name, value });
    return { name, value };
  });
