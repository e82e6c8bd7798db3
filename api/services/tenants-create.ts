import { apiKeys, newId, tenants } from '@armature/db';
import type { Service } from './context.ts';
import { administer } from './mutate.ts';
import { presentKey, presentTenant } from './present.ts';

/** A tenant with its first key, which may do everything within it. */
export const createTenant: Service<'tenants.create'> = async (ctx, { name }) => {
  const tenantId = newId('ten');
  const { secret, start, hash } = ctx.keys.mint();
  return administer(ctx, { tenant: tenantId, verb: 'tenants.create' }, async (tx, note) => {
    const [tenant] = await tx.insert(tenants).values({ id: tenantId, name }).returning();
    const keyId = newId('key');
    const first = { id: keyId, lineage: keyId, tenantId, name: 'first key', scopes: ['admin'] };
    const [key] = await tx
      .insert(apiKeys)
      .values({ ...first, start, hash })
      .returning();
    if (tenant === undefined || key === undefined) throw new Error('insert gave no row');
    note(tenantId, { name, key_id: keyId });
    return { tenant: presentTenant(tenant), key: presentKey(key, {}), secret };
  });
};
