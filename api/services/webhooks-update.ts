import { and, eq, webhookEndpoints } from '@armature/db';
import type { Service } from './context.ts';
import { findWebhook } from './find.ts';
import { mutate } from './mutate.ts';
import { presentWebhook } from './present.ts';

/** Changes what is given of an endpoint; messages that wait go to where it points when they are sent. */
export const updateWebhook: Service<'webhooks.update'> = async (ctx, { id, ...changes }) =>
  mutate(ctx, async (tx, note) => {
    const before = await findWebhook(tx, ctx.tenant, id);
    const { url = before.url, events = before.events, enabled = before.enabled } = changes;
    const [row] = await tx
      .update(webhookEndpoints)
      .set({ url, events: [...new Set(events)], enabled })
      .where(and(eq(webhookEndpoints.tenantId, ctx.tenant), eq(webhookEndpoints.id, id)))
      .returning();
    if (row === undefined) throw new Error('update gave no row');
    note(id, changes);
    return presentWebhook(row);
  });
