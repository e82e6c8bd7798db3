import { and, desc, eq, jobEvents, sql, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { findFinetune } from './find.ts';

/** The checkpoints of a fine-tune that lie in the object store, whole; one is kept at a time. */
export const listFinetuneCheckpoints: Service<'finetunes.checkpoints'> = async (ctx, { id }) =>
  withTenant(ctx.db, ctx.tenant, async (tx) => {
    const { checkpoint } = await findFinetune(tx, ctx.tenant, id);
    if (checkpoint === null) return { items: [] };
    const { step, sha256, bytes } = checkpoint;
    const [recorded] = await tx
      .select({ at: jobEvents.at })
      .from(jobEvents)
      .where(
        and(
          eq(jobEvents.tenantId, ctx.tenant),
          eq(jobEvents.subjectId, id),
          eq(jobEvents.kind, 'checkpoint'),
          sql`(${jobEvents.data}->>'step')::integer = ${step}`,
        ),
      )
      .orderBy(desc(jobEvents.seq))
      .limit(1);
    const at = recorded === undefined ? null : recorded.at.toISOString();
    return { items: [{ step, bytes: bytes ?? null, sha256, at }] };
  });
