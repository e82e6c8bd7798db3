import { withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { findWebhook } from './find.ts';
import { presentWebhook } from './present.ts';

export const getWebhook: Service<'webhooks.get'> = async (ctx, { id }) =>
  withTenant(ctx.db, ctx.tenant, async (tx) =>
    presentWebhook(await findWebhook(tx, ctx.tenant, id)),
  );
