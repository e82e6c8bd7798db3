import { and, eq, sql, webhookDeliveries } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { notFound } from './find.ts';
import { mutate } from './mutate.ts';
import { presentWebhookDelivery } from './present.ts';

/** Sends a message that was delivered or given up once more, with all its attempts, under its id. */
export const replayWebhook: Service<'webhooks.replay'> = async (ctx, { id }) =>
  mutate(ctx, async (tx, note) => {
    const mine = and(eq(webhookDeliveries.tenantId, ctx.tenant), eq(webhookDeliveries.id, id));
    const [before] = await tx.select().from(webhookDeliveries).where(mine).for('update');
    if (before === undefined) throw notFound('webhook delivery', id, 'id');
    if (before.status === 'pending') {
      throw new ArmatureError('conflict', `webhook delivery ${id} is still on its way`, {
        field: 'id',
        fix: 'Wait until it is delivered or given up.',
      });
    }
    const [row] = await tx
      .update(webhookDeliveries)
      .set({ status: 'pending', attempts: 0, answerStatus: null, error: null, endedAt: null })
      .where(mine)
      .returning();
    if (row === undefined) throw new Error('update gave no row');
    await tx.execute(sql`select armature_send_webhook(${ctx.tenant}, ${id})`);
    note(id, { webhook_id: row.endpointId });
    return presentWebhookDelivery(row);
  });
