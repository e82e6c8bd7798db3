import { createHash, randomUUID } from 'node:crypto';
import {
  and,
  eq,
  idempotencyKeys,
  inArray,
  lt,
  sql,
  withTenant,
  type Db,
  type Tx,
} from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';

/** How long a key's answer is kept. */
const KEPT_MS = 24 * 3600 * 1000;
/** A claim this old belongs to a process that is gone. */
const ABANDONED_MS = 60_000;

/** The right to perform one mutation, held by one request. */
export interface Claim {
  readonly verb: string;
  readonly keyHash: Buffer;
  readonly owner: string;
}

export interface IdempotentRequest {
  readonly tenant: string;
  readonly verb: string;
  readonly keyHash: Buffer;
  /** The parsed input, by which a changed body is told. */
  readonly input: unknown;
}

/**
 * Claims a key for one request, or finds what an earlier one of it answered.
 * @throws ArmatureError `idempotency_mismatch` for another input, `conflict` while a twin runs or
 *   where one was carried out whose answer was lost.
 */
export async function claimKey(
  db: Db,
  { tenant, verb, keyHash, input }: IdempotentRequest,
): Promise<{ claim: Claim } | { answer: Buffer }> {
  const inputHash = createHash('sha256').update(canonical(input)).digest();
  const owner = randomUUID();
  const mine = and(
    eq(idempotencyKeys.tenantId, tenant),
    eq(idempotencyKeys.verb, verb),
    eq(idempotencyKeys.keyHash, keyHash),
  );
  return withTenant(db, tenant, async (tx) => {
    await tx
      .delete(idempotencyKeys)
      .where(and(eq(idempotencyKeys.tenantId, tenant), lt(idempotencyKeys.expiresAt, sql`now()`)));
    const abandoned = sql`${idempotencyKeys.state} = 'running' and ${idempotencyKeys.claimedAt} < clock_timestamp() - ${ABANDONED_MS} * interval '1 millisecond'`;
    const values = {
      owner,
      inputHash,
      claimedAt: sql`clock_timestamp()`,
      expiresAt: sql`clock_timestamp() + ${KEPT_MS} * interval '1 millisecond'`,
    };
    const [claimed] = await tx
      .insert(idempotencyKeys)
      .values({ ...values, tenantId: tenant, verb, keyHash, state: 'running' })
      .onConflictDoUpdate({
        target: [idempotencyKeys.tenantId, idempotencyKeys.verb, idempotencyKeys.keyHash],
        set: values,
        setWhere: abandoned,
      })
      .returning({ owner: idempotencyKeys.owner });
    if (claimed !== undefined) return { claim: { verb, keyHash, owner } };
    const [found] = await tx.select().from(idempotencyKeys).where(mine);
    if (found === undefined) throw twin('another request with this key has just ended');
    if (!found.inputHash.equals(inputHash)) {
      throw new ArmatureError(
        'idempotency_mismatch',
        'idempotency-key: was used before with another input',
        { field: 'idempotency-key', fix: 'Use a new key for a new request.' },
      );
    }
    if (found.state === 'done' && found.answer !== null) return { answer: found.answer };
    const isFresh = Date.now() - found.claimedAt.getTime() < ABANDONED_MS;
    if (found.state === 'running' || isFresh)
      throw twin('a request with this key is being carried out');
    throw new ArmatureError(
      'conflict',
      'idempotency-key: the request was carried out, and its answer was lost',
      { field: 'idempotency-key', fix: 'List the resources to find what it made.' },
    );
  });
}

/**
 * Uses a claim up, in the transaction of the mutation itself.
 * @throws ArmatureError `conflict` when another request has taken it over.
 */
export async function applyClaim(tx: Tx, tenant: string, claim: Claim): Promise<void> {
  const rows = await tx
    .update(idempotencyKeys)
    .set({ state: 'applied' })
    // A verb may change things in more than one transaction.
    .where(and(held(tenant, claim), inArray(idempotencyKeys.state, ['running', 'applied'])))
    .returning({ owner: idempotencyKeys.owner });
  if (rows.length === 0) throw twin('another request with this key has taken over');
}

/** Keeps the answer, sealed, for whoever sends the key again. */
export async function keepAnswer(
  db: Db,
  tenant: string,
  claim: Claim,
  answer: Buffer,
): Promise<void> {
  await withTenant(db, tenant, async (tx) => {
    await tx.update(idempotencyKeys).set({ state: 'done', answer }).where(held(tenant, claim));
  });
}

/** Gives a claim back whose mutation did not happen, so that the key can be used again. */
export async function releaseClaim(db: Db, tenant: string, claim: Claim): Promise<void> {
  await withTenant(db, tenant, async (tx) => {
    await tx
      .delete(idempotencyKeys)
      .where(and(held(tenant, claim), eq(idempotencyKeys.state, 'running')));
  });
}

function held(tenant: string, { verb, keyHash, owner }: Claim) {
  return and(
    eq(idempotencyKeys.tenantId, tenant),
    eq(idempotencyKeys.verb, verb),
    eq(idempotencyKeys.keyHash, keyHash),
    eq(idempotencyKeys.owner, owner),
  );
}

function twin(message: string): ArmatureError {
  return new ArmatureError('conflict', `idempotency-key: ${message}`, {
    field: 'idempotency-key',
    retryAfterS: 1,
    fix: 'Send the same request again in a second to get its answer.',
  });
}

/** The same text for the same value, whatever the order of its fields. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
