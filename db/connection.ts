import { sql } from 'drizzle-orm';
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { redactDatabaseError } from './errors.ts';

/** Longest a statement may run inside `withTenant` and `withSystem`. */
const STATEMENT_TIMEOUT_MS = 30_000;

type Orm = PostgresJsDatabase;
/** An open transaction. */
export type Tx = Parameters<Parameters<Orm['transaction']>[0]>[0];

export interface Db {
  readonly orm: Orm;
  /** Told of every `withSystem`. */
  readonly onSystemAccess: (reason: string) => void;
  /** Waits for what runs, then closes every connection. */
  close(): Promise<void>;
}

export interface ConnectOptions {
  /** Largest number of connections. */
  max: number;
  /** Shown in pg_stat_activity, e.g. `armature-api`. */
  name?: string;
  /** Longest that opening a connection may take, s; 10. */
  connectTimeoutS?: number;
  onSystemAccess?: (reason: string) => void;
}

/** Opens a pool; the first query connects. Works behind a pooler in transaction mode. */
export function connect(url: string, options: ConnectOptions): Db {
  const client = postgres(url, {
    max: options.max,
    prepare: false,
    idle_timeout: 60,
    connect_timeout: options.connectTimeoutS ?? 10,
    onnotice: () => undefined,
    connection: { application_name: options.name ?? 'armature' },
  });
  return {
    orm: drizzle(client),
    onSystemAccess: options.onSystemAccess ?? (() => undefined),
    close: () => client.end({ timeout: 5 }),
  };
}

/**
 * One transaction in which only rows of `tenantId` exist.
 * @throws DatabaseError, without parameters, for a statement that fails; what `work` throws passes.
 */
export async function withTenant<T>(
  db: Db,
  tenantId: string,
  work: (tx: Tx) => Promise<T>,
): Promise<T> {
  if (tenantId === '') throw new Error('withTenant needs a tenant');
  return transaction(db, async (tx) => {
    await tx.execute(
      sql`select set_config('app.tenant_id', ${tenantId}, true), set_config('statement_timeout', ${String(STATEMENT_TIMEOUT_MS)}, true)`,
    );
    return work(tx);
  });
}

/**
 * One transaction as `armature_system`, which sees every tenant's jobs and nothing else of theirs.
 * The reason is a literal and goes to the log; the connection's role must be `armature_worker`.
 */
export async function withSystem<T>(
  db: Db,
  reason: string,
  work: (tx: Tx) => Promise<T>,
): Promise<T> {
  db.onSystemAccess(reason);
  return transaction(db, async (tx) => {
    await tx.execute(
      sql`select set_config('role', 'armature_system', true), set_config('statement_timeout', ${String(STATEMENT_TIMEOUT_MS)}, true)`,
    );
    return work(tx);
  });
}

/** One transaction on tables that belong to no tenant. */
export async function withPlatform<T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T> {
  return transaction(db, work);
}

/**
 * A statement by itself, without the ways to and fro of a transaction: on what belongs to no tenant, or of a
 * function that sets its tenant.
 */
export async function inOneStatement<T>(db: Db, work: (orm: Db['orm']) => Promise<T>): Promise<T> {
  return redacted(() => work(db.orm));
}

async function transaction<T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T> {
  return redacted(() => db.orm.transaction(work));
}

async function redacted<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw redactDatabaseError(error);
  }
}
