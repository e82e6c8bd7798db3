import { cancelJob, sql, type Tx } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { findFinetune } from './find.ts';
import { attemptsOf } from './finetune-attempts.ts';
import { changeFinetune, jobOf, lockFinetune } from './finetune-change.ts';
import { mutate } from './mutate.ts';
import { presentFinetune } from './present.ts';

/**
 * Ends a fine-tune: one that waits or is paused at once, one that runs with its worker's next
 * heartbeat. Again is no error.
 */
export const cancelFinetune: Service<'finetunes.cancel'> = async (ctx, { id }) => {
  const finetune = await mutate(ctx, async (tx, note) => {
    await findFinetune(tx, ctx.tenant, id);
    const cancelled = await cancelIn(tx, ctx.tenant, id);
    // Read again: the job's lock has made this wait for a worker that was just ending it.
    const row = await findFinetune(tx, ctx.tenant, id);
    if (cancelled === 'none' && row.status !== 'cancelled') {
      throw new ArmatureError('conflict', `finetune ${id} has already ${row.status}`, {
        field: 'id',
        fix: 'Only a fine-tune that has not ended can be cancelled.',
      });
    }
    if (cancelled === 'none' || row.status === 'cancelling') {
      return presentFinetune(row, (await attemptsOf(tx, ctx.tenant, [id])).get(id) ?? 0);
    }
    const changes =
      cancelled === 'cancelled'
        ? ({ status: 'cancelled', checkpoint: null, finishedAt: sql`now()` } as const)
        : ({ status: 'cancelling' } as const);
    return changeFinetune(tx, ctx, id, changes, note);
  });
  // Of a job that no worker holds nobody else takes the checkpoints away.
  if (finetune.status === 'cancelled') {
    await ctx.store.deletePrefix(`tenants/${ctx.tenant}/finetunes/${id}/`);
  }
  return finetune;
};

/** As `cancelJob` says; a draft, and one that waits for its sets, has no job and ends at once. */
async function cancelIn(tx: Tx, tenant: string, id: string) {
  const cancelled = await cancelJob(tx, jobOf(tenant, id));
  if (cancelled !== 'none') return cancelled;
  const { status } = await lockFinetune(tx, tenant, id);
  if (status === 'draft' || status === 'validating') return 'cancelled';
  // Its sets have become ready between the two looks.
  return status === 'queued' ? cancelJob(tx, jobOf(tenant, id)) : 'none';
}
