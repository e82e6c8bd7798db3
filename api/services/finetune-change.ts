import { and, appendEvents, eq, finetunes, type Tx } from '@armature/db';
import type { Finetune, FinetuneStatus } from '@armature/sdk/contract';
import type { TenantContext } from './context.ts';
import { notFound } from './find.ts';
import { attemptsOf } from './finetune-attempts.ts';
import type { Note } from './mutate.ts';
import { presentFinetune } from './present.ts';

/** The job of a fine-tune, as the queue names it. */
export function jobOf(tenantId: string, subjectId: string) {
  return { tenantId, kind: 'finetune' as const, subjectId };
}

/** A fine-tune's row, for this transaction alone until that ends. @throws ArmatureError `not_found`. */
export async function lockFinetune(
  tx: Tx,
  tenant: string,
  id: string,
): Promise<typeof finetunes.$inferSelect> {
  const [row] = await tx
    .select()
    .from(finetunes)
    .where(and(eq(finetunes.tenantId, tenant), eq(finetunes.id, id)))
    .for('update');
  if (row === undefined) throw notFound('finetune', id, 'id');
  return row;
}

/** Changes a fine-tune's row, with an event and a line of the audit log that say so. */
export async function changeFinetune(
  tx: Tx,
  ctx: TenantContext,
  id: string,
  changes: Omit<Parameters<ReturnType<typeof tx.update<typeof finetunes>>['set']>[0], 'status'> & {
    status: FinetuneStatus;
  },
  note: Note,
): Promise<Finetune> {
  const [row] = await tx
    .update(finetunes)
    .set(changes)
    .where(and(eq(finetunes.tenantId, ctx.tenant), eq(finetunes.id, id)))
    .returning();
  if (row === undefined) throw new Error('update gave no row');
  await appendEvents(tx, id, [{ kind: 'status', message: row.status }]);
  note(id, { status: row.status });
  return presentFinetune(row, (await attemptsOf(tx, ctx.tenant, [id])).get(id) ?? 0);
}
