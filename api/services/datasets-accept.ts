import { and, appendEvents, datasets, enqueue, eq } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { findDataset } from './find.ts';
import { presentDataset } from './present.ts';
import { mutate } from './mutate.ts';

/**
 * Takes a rejected set without the episodes that are named: it is validated again as if it did not
 * have them, and is ready if nothing else is wrong with it.
 */
export const acceptDataset: Service<'datasets.accept'> = async (ctx, input) =>
  mutate(ctx, async (tx, note) => {
    const { id } = input;
    const without = [...new Set(input.without_episodes)].sort((a, b) => a - b);
    const mine = and(eq(datasets.tenantId, ctx.tenant), eq(datasets.id, id));
    const [row] = await tx
      .update(datasets)
      .set({ status: 'validating', report: null, progress: 0, excludedEpisodes: without })
      .where(and(mine, eq(datasets.status, 'rejected')))
      .returning();
    if (row === undefined) {
      const found = await findDataset(tx, ctx.tenant, id);
      throw new ArmatureError('conflict', `data set ${id} is ${found.status}, not rejected`, {
        field: 'id',
        fix: 'Only a set that was rejected can be accepted without some of its episodes.',
      });
    }
    await enqueue(tx, { tenantId: ctx.tenant, kind: 'ingest', subjectId: id });
    await appendEvents(tx, id, [
      { kind: 'status', message: `validated again without episodes ${without.join(', ')}` },
    ]);
    note(id, { without_episodes: without });
    return presentDataset(row);
  });
