import { and, asc, eq, gt, jobEvents, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { findFinetune } from './find.ts';
import { presentJobEvent } from './present.ts';

/** The history of a fine-tune in order, from behind `after`. */
export const listFinetuneEvents: Service<'finetunes.events'> = async (ctx, input) =>
  withTenant(ctx.db, ctx.tenant, async (tx) => {
    await findFinetune(tx, ctx.tenant, input.id);
    const rows = await tx
      .select()
      .from(jobEvents)
      .where(
        and(
          eq(jobEvents.tenantId, ctx.tenant),
          eq(jobEvents.subjectId, input.id),
          gt(jobEvents.seq, input.after),
        ),
      )
      .orderBy(asc(jobEvents.seq))
      .limit(input.limit);
    return { items: rows.map(presentJobEvent) };
  });
