import { sql, withPlatform, type Db } from '@armature/db';
import { scopeSchema, type Scope } from '@armature/sdk/contract';
import { z } from 'zod';

const rowSchema = z.object({
  id: z.string(),
  tenant_id: z.string(),
  scopes: z.array(scopeSchema),
  expires_at: z.coerce.date().nullable(),
  revoked_at: z.coerce.date().nullable(),
});

/**
 * Whose key has this hash: the one look-up before the tenant is known, through the database's
 * function for it. Notes the use of the key, to the minute.
 */
export async function findKey(
  db: Db,
  hash: Buffer,
): Promise<{
  id: string;
  tenantId: string;
  scopes: Scope[];
  expiresAt: Date | null;
  revokedAt: Date | null;
} | null> {
  const rows = await withPlatform(db, (tx) =>
    tx.execute(
      sql`select id, tenant_id, scopes, expires_at, revoked_at from armature_find_key(${hash}::bytea)`,
    ),
  );
  const [first] = rows;
  if (first === undefined) return null;
  const row = rowSchema.parse(first);
  return {
    id: row.id,
    tenantId: row.tenant_id,
    scopes: row.scopes,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
  };
}
