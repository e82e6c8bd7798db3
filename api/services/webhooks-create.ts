import { newId, webhookEndpoints, webhookOwner } from '@armature/db';
import type { Service } from './context.ts';
import { mutate } from './mutate.ts';
import { needWebhook } from './quotas.ts';
import { presentWebhook } from './present.ts';
import { newWebhookSecret } from './webhook-secret.ts';

/** A new endpoint; the secret that its messages are signed with is in this answer alone. */
export const createWebhook: Service<'webhooks.create'> = async (ctx, { url, events }) =>
  mutate(ctx, async (tx, note) => {
    await needWebhook(tx, ctx.tenant);
    const id = newId('wh');
    const secret = newWebhookSecret();
    const [row] = await tx
      .insert(webhookEndpoints)
      .values({
        id,
        tenantId: ctx.tenant,
        url,
        events: [...new Set(events)],
        sealedSecret: ctx.sealing.seal(secret, webhookOwner(ctx.tenant, id)),
      })
      .returning();
    if (row === undefined) throw new Error('insert gave no row');
    note(row.id, { url, events: row.events });
    return { webhook: presentWebhook(row), secret };
  });
