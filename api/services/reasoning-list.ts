import { and, eq, reasoningRecords, sql, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { findSession } from './find.ts';
import { keyset, pageOf } from './page.ts';

/** A session's reasoning, newest first, each with the number of chunks that it drove. */
export const listReasoning: Service<'reasoning.list'> = async (ctx, input) => {
  const records = reasoningRecords;
  const { where, orderBy, limit } = keyset(input, records.createdAt, records.id);
  // Written out: drizzle leaves table names off the columns of a selection from one table.
  const chunks = sql`(
    select count(*) from usage_events used
    where used.tenant_id = reasoning_records.tenant_id and used.reasoning_id = reasoning_records.id
  )`.mapWith(Number);
  const rows = await withTenant(ctx.db, ctx.tenant, async (tx) => {
    await findSession(tx, ctx.tenant, input.session_id, 'session_id');
    return tx
      .select({ record: records, chunks })
      .from(records)
      .where(and(eq(records.tenantId, ctx.tenant), eq(records.sessionId, input.session_id), where))
      .orderBy(...orderBy)
      .limit(limit);
  });
  return pageOf(
    input,
    rows.map((row) => ({ ...row.record, chunks: row.chunks })),
    (row) => ({
      id: row.id,
      session_id: row.sessionId,
      text: row.text,
      source: row.source,
      chunks: row.chunks,
      tokens: row.tokens,
      created_at: row.createdAt.toISOString(),
    }),
  );
};
