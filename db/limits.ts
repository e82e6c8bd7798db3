import { and, eq } from 'drizzle-orm';
import type { Tx } from './connection.ts';
import { keyLimits, tenantLimits } from './schema.ts';

/** What the operator has granted the tenant; undefined where the default stands. */
export async function tenantLimit(
  tx: Tx,
  tenant: string,
  name: string,
): Promise<number | undefined> {
  const [row] = await tx
    .select({ value: tenantLimits.value })
    .from(tenantLimits)
    .where(and(eq(tenantLimits.tenantId, tenant), eq(tenantLimits.name, name)));
  return row?.value;
}

/** What a key and those it was rotated to or from may use; undefined where that is whatever the tenant may. */
export async function keyLimit(
  tx: Tx,
  of: { tenant: string; lineage: string },
  name: string,
): Promise<number | undefined> {
  const { tenantId, lineage } = keyLimits;
  const [row] = await tx
    .select({ value: keyLimits.value })
    .from(keyLimits)
    .where(and(eq(tenantId, of.tenant), eq(lineage, of.lineage), eq(keyLimits.name, name)));
  return row?.value;
}
