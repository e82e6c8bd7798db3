import { inOneStatement, sql, type Db } from '@armature/db';
import { scopeSchema } from '@armature/sdk/contract';
import { z } from 'zod';

const rowSchema = z
  .object({
    id: z.string(),
    tenant_id: z.string(),
    scopes: z.array(z.union([scopeSchema, z.literal('invitation')])),
    expires_at: z.coerce.date().nullable(),
    revoked_at: z.coerce.date().nullable(),
  })
  .transform(({ id, tenant_id, scopes, expires_at, revoked_at }) => ({
    id,
    tenantId: tenant_id,
    scopes,
    expiresAt: expires_at,
    revokedAt: revoked_at,
  }));
export type FoundCredential = z.output<typeof rowSchema>;

/**
 * Whose key or invitation has this hash: the one look-up before the tenant is known, through the
 * database's functions for it. That of a key notes its use, to the minute.
 */
export const findCredential = {
  key: (db: Db, hash: Buffer) =>
    lookUp(
      db,
      sql`select id, tenant_id, scopes, expires_at, revoked_at from armature_find_key(${hash}::bytea)`,
    ),
  invitation: (db: Db, hash: Buffer) =>
    lookUp(
      db,
      sql`select id, tenant_id, array['invitation'] as scopes, expires_at, revoked_at from armature_find_invitation(${hash}::bytea)`,
    ),
} as const;

async function lookUp(db: Db, query: ReturnType<typeof sql>): Promise<FoundCredential | null> {
  const [first] = await inOneStatement(db, (orm) => orm.execute(query));
  return first === undefined ? null : rowSchema.parse(first);
}
