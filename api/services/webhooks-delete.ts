import { and, eq, webhookEndpoints } from '@armature/db';
import type { Service } from './context.ts';
import { findWebhook } from './find.ts';
import { mutate } from './mutate.ts';
import { presentWebhook } from './present.ts';

/** Takes an endpoint away, with its messages; what waits is not sent any more. */
export const deleteWebhook: Service<'webhooks.delete'> = async (ctx, { id }) =>
  mutate(ctx, async (tx, note) => {
    const row = await findWebhook(tx, ctx.tenant, id);
    await tx
      .delete(webhookEndpoints)
      .where(and(eq(webhookEndpoints.tenantId, ctx.tenant), eq(webhookEndpoints.id, id)));
    note(id, { url: row.url });
    return presentWebhook(row);
  });
