import { and, eq, webhookDeliveries, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { findWebhook } from './find.ts';
import { keyset, pageOf } from './page.ts';
import { presentWebhookDelivery } from './present.ts';

/** What an endpoint was told, newest first. */
export const listWebhookDeliveries: Service<'webhooks.deliveries'> = async (ctx, input) => {
  const table = webhookDeliveries;
  const { where, orderBy, limit } = keyset(input, table.createdAt, table.id);
  const rows = await withTenant(ctx.db, ctx.tenant, async (tx) => {
    await findWebhook(tx, ctx.tenant, input.id);
    return tx
      .select()
      .from(table)
      .where(and(eq(table.tenantId, ctx.tenant), eq(table.endpointId, input.id), where))
      .orderBy(...orderBy)
      .limit(limit);
  });
  return pageOf(input, rows, presentWebhookDelivery);
};
