import { and, eq, webhookEndpoints, webhookOwner } from '@armature/db';
import type { Service } from './context.ts';
import { findWebhook } from './find.ts';
import { mutate } from './mutate.ts';
import { presentWebhook } from './present.ts';
import { newWebhookSecret } from './webhook-secret.ts';

/** A new secret of an endpoint; messages carry the signatures of both until the overlap ends. */
export const rotateWebhook: Service<'webhooks.rotate'> = async (ctx, { id, overlap_s: overlap }) =>
  mutate(ctx, async (tx, note) => {
    const before = await findWebhook(tx, ctx.tenant, id);
    const secret = newWebhookSecret();
    const previousUntil = new Date(ctx.clock().getTime() + overlap * 1000);
    const [row] = await tx
      .update(webhookEndpoints)
      .set({
        sealedSecret: ctx.sealing.seal(secret, webhookOwner(ctx.tenant, id)),
        sealedPrevious: before.sealedSecret,
        previousUntil,
      })
      .where(and(eq(webhookEndpoints.tenantId, ctx.tenant), eq(webhookEndpoints.id, id)))
      .returning();
    if (row === undefined) throw new Error('update gave no row');
    note(id, { overlap_s: overlap });
    return { webhook: presentWebhook(row), secret };
  });
