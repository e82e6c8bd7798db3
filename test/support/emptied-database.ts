import postgres, { type Sql } from 'postgres';

/** Empties a database again and again, up to what its migrations have put there. */
export interface EmptiedDatabase {
  empty(): Promise<void>;
  close(): Promise<void>;
}

/** @param adminUrl of a database that nobody has written to yet */
export async function openEmptiedDatabase(adminUrl: string): Promise<EmptiedDatabase> {
  const admin = postgres(adminUrl, { max: 1, onnotice: () => undefined });
  const tables = await admin<{ name: string }[]>`
    select format('%I.%I', schemaname, tablename) as name from pg_tables
    where schemaname not in ('pg_catalog', 'information_schema') order by 1`;
  const written: string[] = [];
  for (const { name } of tables) if (!(await hasRows(admin, name))) written.push(name);
  return {
    empty: async () => {
      await admin.unsafe(`truncate ${written.join(', ')} restart identity`);
    },
    close: () => admin.end(),
  };
}

async function hasRows(admin: Sql, table: string): Promise<boolean> {
  return (await admin.unsafe(`select from ${table} limit 1`)).length > 0;
}
