import { withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { findTenant } from './find.ts';
import { presentTenant } from './present.ts';

/** The tenant of the calling key. */
export const currentTenant: Service<'tenants.current'> = async (ctx) =>
  presentTenant(await withTenant(ctx.db, ctx.tenant, (tx) => findTenant(tx, ctx.tenant)));
