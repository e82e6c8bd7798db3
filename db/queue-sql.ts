import { sql } from 'drizzle-orm';
import type PgBoss from 'pg-boss';
import type { Tx } from './connection.ts';

type Run = <T>(work: (tx: Tx) => Promise<T>) => Promise<T>;

/** How pg-boss reaches the database. */
export function executor(run: Run): PgBoss.Db {
  return {
    executeSql: async (text, values) => {
      const rows = await run((tx) => tx.execute(statement(text, values)));
      return { rows: [...rows] };
    },
  };
}

/** Maintenance comes as a transaction of its own, and the one that it runs in will do. */
const OWN_TRANSACTION = /^\s*BEGIN;([\s\S]*?);\s*COMMIT;\s*$/;

/** pg-boss's text with the driver's own placeholders, and values as this driver wants them. */
function statement(text: string, values: readonly unknown[] | undefined) {
  if (values === undefined || values.length === 0) {
    return sql.raw(OWN_TRANSACTION.exec(text)?.[1] ?? text);
  }
  const pieces = text.split(/\$(\d+)/).map((piece, index) => {
    if (index % 2 === 0) return sql.raw(piece);
    const value: unknown = values[Number(piece) - 1];
    return sql`${sql.param(isJson(value) ? JSON.stringify(value) : (value ?? null))}`;
  });
  return sql.join(pieces);
}

const isJson = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
