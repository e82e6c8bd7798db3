import { and, appendEvents, cancelJob, eq, finetunes, sql } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { findFinetune } from './find.ts';
import { attemptsOf } from './finetune-attempts.ts';
import { presentFinetune } from './present.ts';
import { mutate } from './mutate.ts';

/** Ends a fine-tune: one that waits at once, one that runs with its worker's next heartbeat. */
export const cancelFinetune: Service<'finetunes.cancel'> = async (ctx, { id }) =>
  mutate(ctx, async (tx, note) => {
    await findFinetune(tx, ctx.tenant, id);
    const job = { tenantId: ctx.tenant, kind: 'finetune' as const, subjectId: id };
    const cancelled = await cancelJob(tx, job);
    const attempts = await attemptsOf(tx, ctx.tenant, [id]);
    const attempt = attempts.get(id) ?? 0;
    // Read again: the job's lock has made this wait for a worker that was just ending it.
    const row = await findFinetune(tx, ctx.tenant, id);
    if (cancelled === 'none') {
      if (row.status === 'cancelled') return presentFinetune(row, attempt);
      throw new ArmatureError('conflict', `finetune ${id} has already ${row.status}`, {
        field: 'id',
        fix: 'Only a fine-tune that waits or runs can be cancelled.',
      });
    }
    if (row.status === 'cancelling') return presentFinetune(row, attempt);
    const [updated] = await tx
      .update(finetunes)
      .set(
        cancelled === 'cancelled'
          ? { status: 'cancelled', finishedAt: sql`now()` }
          : { status: 'cancelling' },
      )
      .where(and(eq(finetunes.tenantId, ctx.tenant), eq(finetunes.id, id)))
      .returning();
    if (updated === undefined) throw new Error('update gave no row');
    await appendEvents(tx, id, [{ kind: 'status', message: updated.status }]);
    note(id, { status: updated.status });
    return presentFinetune(updated, attempt);
  });
