import {
  and,
  apiKeys,
  eq,
  datasets,
  embodiments,
  finetunes,
  members,
  policyVersions,
  sessions,
  tenants,
  webhookEndpoints,
  type Tx,
} from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';

/** @throws ArmatureError `conflict` for a version that may have no new sessions. */
export function needUnretired(version: typeof policyVersions.$inferSelect, field: string): void {
  if (version.retiredAt === null) return;
  throw new ArmatureError('conflict', `policy version ${version.id} is retired`, {
    field,
    fix: 'Choose another version; list the policies to see which there are.',
  });
}

/** A row by id within the tenant; `field` is where the caller named it. */
export type Find<R> = (tx: Tx, tenant: string, id: string, field?: string) => Promise<R>;

/** Another tenant's id and one that never was give the same answer. */
export function notFound(kind: string, id: string, field: string): ArmatureError {
  return new ArmatureError('not_found', `no ${kind} ${id}`, {
    field,
    fix: `Check ${field}; list your ${kind}s to see their ids.`,
  });
}

/** The tenant's own row. */
export async function findTenant(tx: Tx, tenant: string): Promise<typeof tenants.$inferSelect> {
  const [row] = await tx.select().from(tenants).where(eq(tenants.id, tenant));
  if (row === undefined) throw notFound('tenant', tenant, 'authorization');
  return row;
}

export const findKeyById: Find<typeof apiKeys.$inferSelect> = async (
  tx,
  tenant,
  id,
  field = 'id',
) => {
  const where = and(eq(apiKeys.tenantId, tenant), eq(apiKeys.id, id));
  const [row] = await tx.select().from(apiKeys).where(where);
  if (row === undefined) throw notFound('key', id, field);
  return row;
};

/**
 * A key as it is, until this transaction ends. Its member is locked first, as who removes or changes a
 * member does, whose keys are then those that there are.
 */
export const lockKey: Find<typeof apiKeys.$inferSelect> = async (tx, tenant, id, field = 'id') => {
  const { memberId } = await findKeyById(tx, tenant, id, field);
  if (memberId !== null) {
    const mine = and(eq(members.tenantId, tenant), eq(members.id, memberId));
    await tx.select({ id: members.id }).from(members).where(mine).for('update');
  }
  const where = and(eq(apiKeys.tenantId, tenant), eq(apiKeys.id, id));
  const [row] = await tx.select().from(apiKeys).where(where).for('update');
  if (row === undefined) throw notFound('key', id, field);
  return row;
};

export const findMember: Find<typeof members.$inferSelect> = async (
  tx,
  tenant,
  id,
  field = 'id',
) => {
  const where = and(eq(members.tenantId, tenant), eq(members.id, id));
  const [row] = await tx.select().from(members).where(where);
  if (row === undefined) throw notFound('member', id, field);
  return row;
};

export const findEmbodiment: Find<typeof embodiments.$inferSelect> = async (
  tx,
  tenant,
  id,
  field = 'id',
) => {
  const where = and(eq(embodiments.tenantId, tenant), eq(embodiments.id, id));
  const [row] = await tx.select().from(embodiments).where(where);
  if (row === undefined) throw notFound('embodiment', id, field);
  return row;
};

/**
 * A version and its embodiment, which is this transaction's alone until that ends: what is deployed, the
 * canary and what is retired change one after another, each seeing the others'.
 */
export async function lockPolicyVersion(tx: Tx, tenant: string, id: string) {
  const { embodimentId } = await findPolicyVersion(tx, tenant, id);
  const [embodiment] = await tx
    .select()
    .from(embodiments)
    .where(and(eq(embodiments.tenantId, tenant), eq(embodiments.id, embodimentId)))
    .for('update');
  if (embodiment === undefined) throw new Error('a version has no embodiment');
  return { version: await findPolicyVersion(tx, tenant, id), embodiment };
}

/** @param lock keeps the row as it is, or for this transaction alone, until that ends. */
export async function findDataset(
  tx: Tx,
  tenant: string,
  id: string,
  field = 'id',
  lock?: 'share' | 'update',
): Promise<typeof datasets.$inferSelect> {
  const where = and(eq(datasets.tenantId, tenant), eq(datasets.id, id));
  const query = tx.select().from(datasets).where(where);
  const [row] = await (lock === undefined ? query : query.for(lock));
  if (row === undefined) throw notFound('dataset', id, field);
  return row;
}

export const findFinetune: Find<typeof finetunes.$inferSelect> = async (
  tx,
  tenant,
  id,
  field = 'id',
) => {
  const where = and(eq(finetunes.tenantId, tenant), eq(finetunes.id, id));
  const [row] = await tx.select().from(finetunes).where(where);
  if (row === undefined) throw notFound('finetune', id, field);
  return row;
};

/** @param lock keeps the row as it is until this transaction ends. */
export async function findPolicyVersion(
  tx: Tx,
  tenant: string,
  id: string,
  field = 'id',
  lock?: 'share',
): Promise<typeof policyVersions.$inferSelect> {
  const where = and(eq(policyVersions.tenantId, tenant), eq(policyVersions.id, id));
  const query = tx.select().from(policyVersions).where(where);
  const [row] = await (lock === undefined ? query : query.for(lock));
  if (row === undefined) throw notFound('policy version', id, field);
  return row;
}

/** @throws ArmatureError `conflict` for a version that was retired so long ago that its files are gone. */
export function needFiles(version: typeof policyVersions.$inferSelect, field: string): void {
  if (version.expiredAt === null) return;
  throw new ArmatureError('conflict', `the files of policy version ${version.id} are gone`, {
    field,
    fix: 'They are kept for 30 days after a version is retired; choose another, or fine-tune anew.',
  });
}

export const findSession: Find<typeof sessions.$inferSelect> = async (
  tx,
  tenant,
  id,
  field = 'id',
) => {
  const where = and(eq(sessions.tenantId, tenant), eq(sessions.id, id));
  const [row] = await tx.select().from(sessions).where(where);
  if (row === undefined) throw notFound('session', id, field);
  return row;
};

export const findWebhook: Find<typeof webhookEndpoints.$inferSelect> = async (
  tx,
  tenant,
  id,
  field = 'id',
) => {
  const where = and(eq(webhookEndpoints.tenantId, tenant), eq(webhookEndpoints.id, id));
  const [row] = await tx.select().from(webhookEndpoints).where(where);
  if (row === undefined) throw notFound('webhook', id, field);
  return row;
};
