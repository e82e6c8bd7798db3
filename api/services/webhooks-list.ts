import { eq, and, webhookEndpoints, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { keyset, pageOf } from './page.ts';
import { presentWebhook } from './present.ts';

export const listWebhooks: Service<'webhooks.list'> = async (ctx, input) => {
  const { where, orderBy, limit } = keyset(input, webhookEndpoints.createdAt, webhookEndpoints.id);
  const rows = await withTenant(ctx.db, ctx.tenant, (tx) =>
    tx
      .select()
      .from(webhookEndpoints)
      .where(and(eq(webhookEndpoints.tenantId, ctx.tenant), where))
      .orderBy(...orderBy)
      .limit(limit),
  );
  return pageOf(input, rows, presentWebhook);
};
