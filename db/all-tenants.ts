import { asc, gt } from 'drizzle-orm';
import { withSystem, type Db } from './connection.ts';
import { tenants } from './schema.ts';

/** Ids that are read at a time. */
const PAGE = 1_000;

/** The id of every tenant, in order; of them nothing else is seen. */
export async function* allTenants(db: Db): AsyncGenerator<string> {
  for (let after = ''; ;) {
    const last = after;
    const rows = await withSystem(db, 'list the tenants that a sweep goes through', (tx) =>
      tx
        .select({ id: tenants.id })
        .from(tenants)
        .where(gt(tenants.id, last))
        .orderBy(asc(tenants.id))
        .limit(PAGE),
    );
    for (const { id } of rows) {
      yield id;
      after = id;
    }
    if (rows.length < PAGE) return;
  }
}
