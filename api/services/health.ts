import { sql, withPlatform, type Db } from '@armature/db';

/** Resolves when the database answers. */
export async function pingDatabase(db: Db): Promise<void> {
  await withPlatform(db, (tx) => tx.execute(sql`select 1`));
}
