import { and, eq, isNull, members, tenants, withTenant } from '@armature/db';
import type { Account } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { tenantsOf } from './identity.ts';

/** The person who is signed in, and as what in which tenants. */
export const getAccount: Service<'account.get'> = async ({ db, person }) => {
  const memberships: Account['memberships'] = [];
  // One tenant at a time: nothing sees two of them in one transaction.
  for (const tenant of await tenantsOf(db, person.id)) {
    const [row] = await withTenant(db, tenant, (tx) =>
      tx
        .select({ member: members, name: tenants.name })
        .from(members)
        .innerJoin(tenants, eq(tenants.id, members.tenantId))
        .where(
          and(
            eq(members.tenantId, tenant),
            eq(members.personId, person.id),
            isNull(members.removedAt),
          ),
        ),
    );
    if (row === undefined) continue;
    const { id: member_id, role, createdAt } = row.member;
    memberships.push({
      tenant: { id: tenant, name: row.name },
      member_id,
      role,
      since: createdAt.toISOString(),
    });
  }
  return { person, memberships };
};
