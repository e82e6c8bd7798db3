import { and, enqueue, eq, finetunes } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { findFinetune } from './find.ts';
import { changeFinetune, jobOf } from './finetune-change.ts';
import { mutate } from './mutate.ts';
import { needJob } from './quotas.ts';

/** Queues a failed fine-tune again; it goes on from its last checkpoint, where one was kept. */
export const retryFinetune: Service<'finetunes.retry'> = async (ctx, { id }) =>
  mutate(ctx, async (tx, note) => {
    await findFinetune(tx, ctx.tenant, id);
    await needJob(tx, ctx.tenant);
    const [row] = await tx
      .select({ status: finetunes.status })
      .from(finetunes)
      .where(and(eq(finetunes.tenantId, ctx.tenant), eq(finetunes.id, id)))
      .for('update');
    if (row?.status !== 'failed') {
      throw new ArmatureError('conflict', `finetune ${id} has not failed`, {
        field: 'id',
        fix: 'Only a failed fine-tune can be retried; a paused one can be resumed.',
      });
    }
    await enqueue(tx, jobOf(ctx.tenant, id));
    return changeFinetune(tx, ctx, id, { status: 'queued', error: null, finishedAt: null }, note);
  });
