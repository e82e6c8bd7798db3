import { sql } from 'drizzle-orm';
import { inOneStatement, type Db } from './connection.ts';
import type { QueueName } from './queued-work.ts';

/**
 * Whether there is work in a queue, or a job of that kind whose lease is over: without it a claim finds nothing.
 * One statement and no lock, where a claim takes eight. @throws DatabaseError
 */
export async function workDue(db: Db, queue: QueueName): Promise<boolean> {
  const [row] = await inOneStatement(db, (orm) =>
    orm.execute<{ due: boolean }>(sql`select armature_work_due(${queue}) as due`),
  );
  if (row === undefined) throw new Error('a function without rows');
  return row.due;
}
