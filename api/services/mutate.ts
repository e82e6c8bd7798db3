import { auditLog, newId, withTenant, type Tx } from '@armature/db';
import type { RouteName } from '@armature/sdk/contract';
import type { PlatformContext, TenantContext } from './context.ts';
import { applyClaim } from './idempotency.ts';

/** Says what a mutation changed: its subject's id and what of it is worth keeping, no secrets. */
export type Note = (subjectId: string, detail?: Readonly<Record<string, unknown>>) => void;

/**
 * The transaction of a verb that changes something: what it notes goes to the audit log with the
 * change or not at all, and a claim of its idempotency key is used up with it. A verb that changed
 * nothing notes nothing.
 */
export async function mutate<T>(
  ctx: TenantContext,
  work: (tx: Tx, note: Note) => Promise<T>,
): Promise<T> {
  return withTenant(ctx.db, ctx.tenant, async (tx) => {
    if (ctx.claim !== undefined) await applyClaim(tx, ctx.claim);
    const notes: Parameters<Note>[] = [];
    const result = await work(tx, (...note) => notes.push(note));
    await writeAudit(tx, ctx, notes);
    return result;
  });
}

/** As `mutate`, of what the operator changes of a tenant. */
export async function administer<T>(
  ctx: PlatformContext,
  { tenant, verb }: { tenant: string; verb: RouteName },
  work: (tx: Tx, note: Note) => Promise<T>,
): Promise<T> {
  return withTenant(ctx.db, tenant, async (tx) => {
    if (ctx.claim !== undefined) await applyClaim(tx, ctx.claim);
    const notes: Parameters<Note>[] = [];
    const result = await work(tx, (...note) => notes.push(note));
    const by = { tenant, actor: 'platform', verb, requestId: ctx.requestId };
    await writeAudit(tx, by, notes);
    return result;
  });
}

/** Lines of the audit log, within a transaction of the tenant. */
export async function writeAudit(
  tx: Tx,
  by: { tenant: string; actor: string; verb: string; requestId: string },
  notes: readonly Parameters<Note>[],
): Promise<void> {
  if (notes.length === 0) return;
  await tx.insert(auditLog).values(
    notes.map(([subjectId, detail]) => ({
      id: newId('aud'),
      tenantId: by.tenant,
      actor: by.actor,
      verb: by.verb,
      subjectId,
      requestId: by.requestId,
      detail: { ...detail },
    })),
  );
}
