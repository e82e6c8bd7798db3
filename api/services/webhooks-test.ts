import { newId, sql, webhookDeliveries } from '@armature/db';
import type { Service } from './context.ts';
import { findWebhook } from './find.ts';
import { mutate } from './mutate.ts';
import { presentWebhookDelivery } from './present.ts';

/** Tells an endpoint that it is told: a message of its own kind, whatever it asked for. */
export const testWebhook: Service<'webhooks.test'> = async (ctx, { id }) =>
  mutate(ctx, async (tx, note) => {
    const webhook = await findWebhook(tx, ctx.tenant, id);
    const event = 'webhook.test';
    const payload = { type: event, timestamp: ctx.clock().toISOString(), data: { id: webhook.id } };
    const [row] = await tx
      .insert(webhookDeliveries)
      .values({ id: newId('whd'), tenantId: ctx.tenant, endpointId: id, event, payload })
      .returning();
    if (row === undefined) throw new Error('insert gave no row');
    await tx.execute(sql`select armature_send_webhook(${ctx.tenant}, ${row.id})`);
    note(id, { delivery_id: row.id });
    return presentWebhookDelivery(row);
  });
