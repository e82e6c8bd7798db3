import { sql } from 'drizzle-orm';
import { inOneStatement, type Db } from './connection.ts';

/**
 * Ids of the sessions, of any tenant, that have ended: of those that are connected at a worker, wherever they
 * were placed, and of those that were placed there and ended within the last `withinS` seconds.
 */
export async function endedSessions(
  db: Db,
  workerId: string,
  of: { readonly connected: readonly string[]; readonly withinS: number },
): Promise<string[]> {
  const connected = sql`array(select jsonb_array_elements_text(${JSON.stringify(of.connected)}::jsonb))`;
  const within = sql`make_interval(secs => ${of.withinS}::double precision)`;
  const rows = await inOneStatement(db, (orm) =>
    orm.execute<{ id: string }>(
      sql`select id from armature_ended_sessions(${workerId}, ${connected}, ${within})`,
    ),
  );
  return rows.map(({ id }) => id);
}
