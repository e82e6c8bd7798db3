import { and, asc, eq, isNull, members, type Tx } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';

/**
 * Makes sure that a tenant with owners keeps one when this member is none any more. The owners are
 * locked until the transaction ends, so that two of them cannot let each other go.
 * @throws ArmatureError `conflict`.
 */
export async function needAnotherOwner(tx: Tx, tenant: string, memberId: string): Promise<void> {
  const owners = await tx
    .select({ id: members.id })
    .from(members)
    .where(and(eq(members.tenantId, tenant), eq(members.role, 'owner'), isNull(members.removedAt)))
    .orderBy(asc(members.id))
    .for('update');
  if (owners.some(({ id }) => id !== memberId) || owners.length === 0) return;
  throw new ArmatureError('conflict', `member ${memberId} is the only owner`, {
    field: 'id',
    fix: 'Make another member an owner first.',
  });
}
