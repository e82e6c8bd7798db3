import {
  and,
  eq,
  identityAdapter,
  inOneStatement,
  isNull,
  members,
  newId,
  redactDatabaseError,
  sql,
  sweepIdentity,
  takeAttempt,
  withTenant,
  type AttemptRule,
  type Db,
  type IdentityAdapter,
  type IdentityPrefix,
} from '@armature/db';
import { roleScopes, type Scope } from '@armature/sdk/contract';
import { z } from 'zod';

export type { AttemptRule, IdentityPrefix };

/** As which member a person acts in a tenant. */
export interface Membership {
  readonly tenantId: string;
  readonly memberId: string;
  readonly scopes: readonly Scope[];
}

/** What is kept of people, and what signing them in asks of the database. */
export interface IdentityStore {
  adapter(): Promise<IdentityAdapter>;
  newId(prefix: IdentityPrefix): string;
  /** Counts an attempt; seconds until one is allowed again, null where this one is. */
  takeAttempt(key: string, rule: AttemptRule): Promise<number | null>;
  /** Takes away what has expired. */
  sweep(): Promise<void>;
  /** The error without the values of a statement. */
  redact(error: unknown): unknown;
  /** Null for a tenant that the person is no member of, or that never was. */
  findMembership(personId: string, tenant: string): Promise<Membership | null>;
}

export function identityStore(db: Db): IdentityStore {
  return {
    adapter: () => identityAdapter(db),
    newId: (prefix) => newId(prefix),
    takeAttempt: (key, rule) => takeAttempt(db, key, rule),
    sweep: () => sweepIdentity(db),
    redact: redactDatabaseError,
    findMembership: async (personId, tenant) => {
      const [row] = await withTenant(db, tenant, (tx) =>
        tx
          .select({ id: members.id, role: members.role })
          .from(members)
          .where(
            and(
              eq(members.tenantId, tenant),
              eq(members.personId, personId),
              isNull(members.removedAt),
            ),
          ),
      );
      if (row === undefined) return null;
      return { tenantId: tenant, memberId: row.id, scopes: roleScopes[row.role] };
    },
  };
}

const tenantRow = z.object({ tenant_id: z.string() });

/** Ids of the tenants that a person is a member of, through the database's function for it. */
export async function tenantsOf(db: Db, personId: string): Promise<string[]> {
  const rows = await inOneStatement(db, (orm) =>
    orm.execute(sql`select tenant_id from armature_tenants_of(${personId})`),
  );
  return z
    .array(tenantRow)
    .parse([...rows])
    .map(({ tenant_id }) => tenant_id);
}
