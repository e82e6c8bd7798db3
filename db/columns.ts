import type { BuildColumns } from 'drizzle-orm';
import {
  bigint,
  customType,
  pgTable,
  text,
  timestamp,
  type PgColumnBuilderBase,
  type PgTableWithColumns,
} from 'drizzle-orm/pg-core';

/** An instant to the millisecond, a `Date` in code. */
export const instant = (name: string) =>
  timestamp(name, { withTimezone: true, precision: 3, mode: 'date' });

/** A count of bytes or microseconds: whole numbers that stay below 2^53. */
export const whole = (name: string) => bigint(name, { mode: 'number' });

export const bytea = customType<{ data: Buffer; driverData: Buffer }>({
  dataType: () => 'bytea',
});

const tenantColumn = { tenantId: text('tenant_id').notNull() };

/**
 * The mirror in code of `armature_tenant_table` in SQL: every table of a tenant's rows is made by
 * this, and a test compares both with the catalogue.
 */
export function tenantTable<N extends string, C extends Record<string, PgColumnBuilderBase>>(
  name: N,
  columns: C,
): TenantTable<N, C> {
  tenantTableNames.add(name);
  return pgTable(name, { ...columns, ...tenantColumn });
}

/** Names of all tables made by `tenantTable`. */
export const tenantTableNames = new Set<string>();

type TenantTable<
  N extends string,
  C extends Record<string, PgColumnBuilderBase>,
> = PgTableWithColumns<{
  name: N;
  schema: undefined;
  columns: BuildColumns<N, C & typeof tenantColumn, 'pg'>;
  dialect: 'pg';
}>;
