import { withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { findSession } from './find.ts';
import { presentSession } from './present.ts';

export const getSession: Service<'sessions.get'> = async (ctx, { id }) =>
  presentSession(await withTenant(ctx.db, ctx.tenant, (tx) => findSession(tx, ctx.tenant, id)));
