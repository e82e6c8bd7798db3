import { pauseJob } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { findFinetune } from './find.ts';
import { attemptsOf } from './finetune-attempts.ts';
import { changeFinetune, jobOf } from './finetune-change.ts';
import { mutate } from './mutate.ts';
import { presentFinetune } from './present.ts';

/**
 * Sets a fine-tune aside: one that waits at once, one that runs when its worker next beats and has
 * saved a checkpoint. Again is no error.
 */
export const pauseFinetune: Service<'finetunes.pause'> = async (ctx, { id }) =>
  mutate(ctx, async (tx, note) => {
    await findFinetune(tx, ctx.tenant, id);
    const paused = await pauseJob(tx, jobOf(ctx.tenant, id));
    // Read again: the job's lock has made this wait for a worker that was just ending it.
    const row = await findFinetune(tx, ctx.tenant, id);
    if (paused === 'none') {
      throw new ArmatureError('conflict', `finetune ${id} is ${row.status}`, {
        field: 'id',
        fix: 'Only a fine-tune that waits or runs can be paused.',
      });
    }
    const status = paused === 'paused' ? 'paused' : 'pausing';
    if (row.status === status) {
      return presentFinetune(row, (await attemptsOf(tx, ctx.tenant, [id])).get(id) ?? 0);
    }
    return changeFinetune(tx, ctx, id, { status }, note);
  });
