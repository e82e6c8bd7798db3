import { createHash } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import postgres, { type ReservedSql } from 'postgres';

/** A numbered SQL file of `db/migrations`. */
export interface Migration {
  number: number;
  name: string;
  sha256: string;
  text: string;
}

const FILE = /^(\d{4})_([a-z0-9_]+)\.sql$/;
/** Key of the advisory lock that one migrator holds: the letters `arma`. */
const LOCK = 0x61726d61;

/**
 * Applies what is missing, each file in a transaction of its own, under a lock that a second
 * migrator waits for. Needs the URL of a role that owns the schema and may make roles, and a direct
 * connection (no pooler). Returns the names of what it applied.
 * @throws Error when an applied file was changed since, is missing here, or one fails.
 */
export async function migrate(adminUrl: string): Promise<string[]> {
  const migrations = await readMigrations();
  const client = postgres(adminUrl, { max: 1, onnotice: () => undefined });
  try {
    const session = await client.reserve();
    try {
      await session`select pg_advisory_lock(${LOCK})`;
      return await applyMissing(session, migrations);
    } finally {
      session.release();
    }
  } finally {
    // The lock goes with the session.
    await client.end({ timeout: 5 });
  }
}

/** The files in order. @throws Error when a number is missing, twice there or misnamed. */
export async function readMigrations(
  folder: URL = new URL('./migrations/', import.meta.url),
): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort();
  return Promise.all(
    names.map(async (name, index) => {
      const match = FILE.exec(name);
      if (match === null || Number(match[1]) !== index + 1) {
        throw new Error(`migration ${name} must be number ${index + 1}: NNNN_words_in_order.sql`);
      }
      const text = await readFile(new URL(name, folder), 'utf8');
      const sha256 = createHash('sha256').update(text).digest('hex');
      return { number: index + 1, name, sha256, text };
    }),
  );
}

async function applyMissing(
  session: ReservedSql,
  migrations: readonly Migration[],
): Promise<string[]> {
  await session`
    create table if not exists armature_migrations (
      number integer primary key,
      name text not null,
      sha256 text not null,
      applied_at timestamptz not null default now()
    )`;
  const applied = await session<{ number: number; name: string; sha256: string }[]>`
    select number, name, sha256 from armature_migrations order by number`;
  applied.forEach((row, index) => {
    const here = migrations[index];
    if (here === undefined) {
      throw new Error(`the database has migration ${row.name}, which this version does not know`);
    }
    if (here.number !== row.number || here.sha256 !== row.sha256) {
      throw new Error(
        `migration ${row.name} was applied with other contents than ${here.name} has`,
      );
    }
  });
  const missing = migrations.slice(applied.length);
  for (const { number, name, sha256, text } of missing) {
    await session`begin`;
    try {
      await session.unsafe(text);
      await session`insert into armature_migrations (number, name, sha256) values (${number}, ${name}, ${sha256})`;
      await session`commit`;
    } catch (error) {
      await session`rollback`;
      throw new Error(`migration ${name} failed`, { cause: error });
    }
  }
  return missing.map(({ name }) => name);
}
