import { eq, sql } from 'drizzle-orm';
import { inOneStatement, type Db } from './connection.ts';
import { serveWorkers, type ServeWorkerState } from './schema.ts';

/** A serve worker tells that it lives: its address, state and how many sessions it has. */
export async function reportServeWorker(
  db: Db,
  worker: { id: string; url: string; state: ServeWorkerState; sessions: number },
): Promise<void> {
  const row = { ...worker, heartbeatAt: sql`now()` };
  await inOneStatement(db, (orm) =>
    orm.insert(serveWorkers).values(row).onConflictDoUpdate({ target: serveWorkers.id, set: row }),
  );
}

/** A serve worker that ends takes itself off the list. */
export async function removeServeWorker(db: Db, id: string): Promise<void> {
  await inOneStatement(db, (orm) => orm.delete(serveWorkers).where(eq(serveWorkers.id, id)));
}
