import { DrizzleQueryError } from 'drizzle-orm/errors';

/** SQLSTATE codes that callers tell apart. */
export const sqlState = {
  uniqueViolation: '23505',
  foreignKeyViolation: '23503',
  checkViolation: '23514',
  insufficientPrivilege: '42501',
  queryCanceled: '57014',
} as const;

/**
 * A failed statement without its values: drizzle puts the parameters into its message, and
 * PostgreSQL the offending row into its detail, and both would end in logs.
 */
export class DatabaseError extends Error {
  /** SQLSTATE, or the driver's own code where the server did not answer. */
  readonly code: string;
  readonly constraint: string | undefined;
  readonly table: string | undefined;
  /** The statement with its placeholders. */
  readonly statement: string | undefined;

  constructor(code: string, where: { constraint?: string; table?: string; statement?: string }) {
    const names = [where.table, where.constraint].filter((name) => name !== undefined);
    super(`database error ${code}${names.length === 0 ? '' : ` on ${names.join(' ')}`}`);
    this.name = 'DatabaseError';
    this.code = code;
    this.constraint = where.constraint;
    this.table = where.table;
    this.statement = where.statement;
  }
}

/** The error as a `DatabaseError` where drizzle or postgres.js threw it, else as it is. */
export function redactDatabaseError(error: unknown): unknown {
  const statement = error instanceof DrizzleQueryError ? error.query : undefined;
  const source = error instanceof DrizzleQueryError ? error.cause : error;
  if (!isDriverError(source)) {
    return statement === undefined ? error : new DatabaseError('unknown', { statement });
  }
  return new DatabaseError(source.code, {
    ...(source.constraint_name === undefined ? {} : { constraint: source.constraint_name }),
    ...(source.table_name === undefined ? {} : { table: source.table_name }),
    ...(statement === undefined ? {} : { statement }),
  });
}

interface DriverError extends Error {
  code: string;
  constraint_name?: string;
  table_name?: string;
}

function isDriverError(error: unknown): error is DriverError {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    (error.name === 'PostgresError' || 'query' in error || /^CONNECT|^CONNECTION/.test(error.code))
  );
}
