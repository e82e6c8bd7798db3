import { eq, tenants, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { notFound } from './find.ts';
import { presentTenant } from './present.ts';

/** The tenant of the calling key. */
export const currentTenant: Service<'tenants.current'> = async (ctx) =>
  withTenant(ctx.db, ctx.tenant, async (tx) => {
    const [row] = await tx.select().from(tenants).where(eq(tenants.id, ctx.tenant));
    if (row === undefined) throw notFound('tenant', ctx.tenant, 'authorization');
    return presentTenant(row);
  });
