import { inOneStatement, sql, type Db } from '@armature/db';

/** Resolves when the database answers. */
export async function pingDatabase(db: Db): Promise<void> {
  await inOneStatement(db, (orm) => orm.execute(sql`select 1`));
}
