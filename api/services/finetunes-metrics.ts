import { sql, withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { findFinetune } from './find.ts';

/**
 * One figure of a fine-tune over its steps, in buckets of `every` steps. Steps that were done again, after
 * a worker was lost, count as they were done last.
 */
export const listFinetuneMetrics: Service<'finetunes.metrics'> = async (ctx, input) =>
  withTenant(ctx.db, ctx.tenant, async (tx) => {
    const { id, name, every, after, limit } = input;
    await findFinetune(tx, ctx.tenant, id);
    const rows = await tx.execute<{
      step: number;
      at: string;
      value: number;
      min: number;
      max: number;
      lines: number;
    }>(sql`
      with lines as (
        select seq, at, (data->>'step')::integer as step, (data->>${name})::double precision as value
        from job_events
        where tenant_id = ${ctx.tenant} and subject_id = ${id} and kind = 'metrics' and data ? ${name}
      ), lasting as (
        select *, min(step) over (order by seq desc rows between unbounded preceding and 1 preceding) as again
        from lines
      )
      select max(step) as step, to_char(max(at) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at,
        avg(value) as value, min(value) as min, max(value) as max, count(*)::integer as lines
      from lasting where (again is null or again > step) and step > ${after}
      group by (step - 1) / ${every} order by 1 limit ${limit + 1}`);
    const items = [...rows].slice(0, limit);
    return { items, next_after: rows.length > limit ? (items.at(-1)?.step ?? null) : null };
  });
