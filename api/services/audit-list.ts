import { and, auditLog, eq, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { keyset, pageOf } from './page.ts';

/** What was done in the tenant, newest first. */
export const listAudit: Service<'audit.list'> = async (ctx, input) => {
  const { where, orderBy, limit } = keyset(input, auditLog.createdAt, auditLog.id);
  const rows = await withTenant(ctx.db, ctx.tenant, (tx) =>
    tx
      .select()
      .from(auditLog)
      .where(
        and(
          eq(auditLog.tenantId, ctx.tenant),
          input.subject === undefined ? undefined : eq(auditLog.subjectId, input.subject),
          where,
        ),
      )
      .orderBy(...orderBy)
      .limit(limit),
  );
  return pageOf(input, rows, (row) => ({
    id: row.id,
    actor: row.actor,
    verb: row.verb,
    subject_id: row.subjectId,
    request_id: row.requestId,
    detail: row.detail,
    created_at: row.createdAt.toISOString(),
  }));
};
