import { and, eq, keyLimits } from '@armature/db';
import type { Service } from './context.ts';
import { findKeyById } from './find.ts';
import { limitsOfKey } from './key-limits.ts';
import { mutate } from './mutate.ts';
import { presentKey } from './present.ts';

/** Gives a key, and those that it was rotated to or from, a quota of its own; `null` takes it back. */
export const limitKey: Service<'keys.limit'> = async (ctx, { id, name, value }) =>
  mutate(ctx, async (tx, note) => {
    const { tenant: tenantId } = ctx;
    const key = await findKeyById(tx, tenantId, id);
    const { lineage } = key;
    if (value === null) {
      const of = and(eq(keyLimits.tenantId, tenantId), eq(keyLimits.lineage, lineage));
      await tx.delete(keyLimits).where(and(of, eq(keyLimits.name, name)));
    } else {
      const { tenantId: tenant, lineage: line, name: named } = keyLimits;
      await tx
        .insert(keyLimits)
        .values({ tenantId, lineage, name, value })
        .onConflictDoUpdate({ target: [tenant, line, named], set: { value } });
    }
    note(id, { name, value });
    return presentKey(key, await limitsOfKey(tx, tenantId, key));
  });
