import { and, apiKeys, eq, inArray, keyLimits, type Tx } from '@armature/db';
import { keyLimitNameSchema, type KeyLimits } from '@armature/sdk/contract';
import type { TenantContext } from './context.ts';

/** Whose quotas count what a request makes. */
export interface Holder {
  readonly tenant: string;
  /** The first of the keys in whose line the calling key is; null where a person calls. */
  readonly lineage: string | null;
}

export async function holderOf(tx: Tx, { tenant, keyId }: TenantContext): Promise<Holder> {
  if (keyId === null) return { tenant, lineage: null };
  const [key] = await tx
    .select({ lineage: apiKeys.lineage })
    .from(apiKeys)
    .where(and(eq(apiKeys.tenantId, tenant), eq(apiKeys.id, keyId)));
  if (key === undefined) throw new Error('the calling key has no row');
  return { tenant, lineage: key.lineage };
}

/** The quotas of keys, by their lineage; one that has none is not there. */
export async function limitsOf(
  tx: Tx,
  tenant: string,
  keys: readonly { readonly lineage: string }[],
): Promise<ReadonlyMap<string, KeyLimits>> {
  const lineages = [...new Set(keys.map(({ lineage }) => lineage))];
  if (lineages.length === 0) return new Map();
  const rows = await tx
    .select()
    .from(keyLimits)
    .where(and(eq(keyLimits.tenantId, tenant), inArray(keyLimits.lineage, lineages)));
  const limits = new Map<string, KeyLimits>();
  for (const { lineage, name, value } of rows) {
    limits.set(lineage, { ...limits.get(lineage), [keyLimitNameSchema.parse(name)]: value });
  }
  return limits;
}

/** The quotas of one key. */
export async function limitsOfKey(
  tx: Tx,
  tenant: string,
  key: { readonly lineage: string },
): Promise<KeyLimits> {
  return (await limitsOf(tx, tenant, [key])).get(key.lineage) ?? {};
}
