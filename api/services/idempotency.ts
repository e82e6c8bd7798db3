import { createHash, randomUUID } from 'node:crypto';
import {
  and,
  eq,
  idempotencyKeys,
  inArray,
  lt,
  operatorKeys,
  sql,
  withPlatform,
  withTenant,
  type Db,
  type Tx,
} from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';

/** How long a key's answer is kept. */
const KEPT_MS = 24 * 3600 * 1000;
/** A claim that is older belongs to a process that is gone, s: longer than any request takes. */
export const CLAIM_LIFE_S = 60;

/** Who sends a key: a tenant by its id, or the operator. */
export type KeyHolder = { readonly tenant: string } | 'operator';

/** The right to perform one mutation, held by one request. */
export interface Claim {
  readonly holder: KeyHolder;
  readonly verb: string;
  readonly keyHash: Buffer;
  readonly owner: string;
}

export interface IdempotentRequest {
  readonly holder: KeyHolder;
  readonly verb: string;
  readonly keyHash: Buffer;
  /** The parsed input, by which a changed body is told. */
  readonly input: unknown;
  /** How long a claim is believed to be at work. */
  readonly claimLifeS: number;
}

/**
 * Claims a key for one request, or finds what an earlier one of it answered.
 * @throws ArmatureError `idempotency_mismatch` for another input, `conflict` while a twin runs or
 *   where one was carried out whose answer was lost.
 */
export async function claimKey(
  db: Db,
  { holder, verb, keyHash, input, claimLifeS }: IdempotentRequest,
): Promise<{ claim: Claim } | { answer: Buffer }> {
  const inputHash = createHash('sha256').update(canonical(input)).digest();
  const owner = randomUUID();
  const { keys, id, within } = ledgerOf(holder);
  const mine = and(eq(keys.tenantId, id), eq(keys.verb, verb), eq(keys.keyHash, keyHash));
  return within(db, async (tx) => {
    await tx.delete(keys).where(and(eq(keys.tenantId, id), lt(keys.expiresAt, sql`now()`)));
    const abandoned = sql`${keys.state} = 'running' and ${keys.claimedAt} < clock_timestamp() - ${claimLifeS} * interval '1 second'`;
    const values = {
      owner,
      inputHash,
      claimedAt: sql`clock_timestamp()`,
      expiresAt: sql`clock_timestamp() + ${KEPT_MS} * interval '1 millisecond'`,
    };
    const [claimed] = await tx
      .insert(keys)
      .values({ ...values, tenantId: id, verb, keyHash, state: 'running' })
      .onConflictDoUpdate({
        target: [keys.tenantId, keys.verb, keys.keyHash],
        set: values,
        setWhere: abandoned,
      })
      .returning({ owner: keys.owner });
    if (claimed !== undefined) return { claim: { holder, verb, keyHash, owner } };
    const [found] = await tx.select().from(keys).where(mine);
    if (found === undefined) throw twin('another request with this key has just ended');
    if (!found.inputHash.equals(inputHash)) {
      throw new ArmatureError(
        'idempotency_mismatch',
        'idempotency-key: was used before with another input',
        { field: 'idempotency-key', fix: 'Use a new key for a new request.' },
      );
    }
    if (found.state === 'done' && found.answer !== null) return { answer: found.answer };
    const isFresh = Date.now() - found.claimedAt.getTime() < claimLifeS * 1000;
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
export async function applyClaim(tx: Tx, claim: Claim): Promise<void> {
  const { keys } = ledgerOf(claim.holder);
  const rows = await tx
    .update(keys)
    .set({ state: 'applied' })
    // A verb may change things in more than one transaction.
    .where(and(held(claim), inArray(keys.state, ['running', 'applied'])))
    .returning({ owner: keys.owner });
  if (rows.length === 0) throw twin('another request with this key has taken over');
}

/** Keeps the answer, sealed, for whoever sends the key again. */
export async function keepAnswer(db: Db, claim: Claim, answer: Buffer): Promise<void> {
  const { keys, within } = ledgerOf(claim.holder);
  await within(db, async (tx) => {
    await tx.update(keys).set({ state: 'done', answer }).where(held(claim));
  });
}

/** Gives a claim back whose mutation did not happen, so that the key can be used again. */
export async function releaseClaim(db: Db, claim: Claim): Promise<void> {
  const { keys, within } = ledgerOf(claim.holder);
  await within(db, async (tx) => {
    await tx.delete(keys).where(and(held(claim), eq(keys.state, 'running')));
  });
}

/** Where the keys of a holder lie, its id there, and a transaction that sees them. */
function ledgerOf(holder: KeyHolder): {
  keys: typeof idempotencyKeys;
  id: string;
  within: <T>(db: Db, work: (tx: Tx) => Promise<T>) => Promise<T>;
} {
  if (holder !== 'operator') {
    const { tenant } = holder;
    return {
      keys: idempotencyKeys,
      id: tenant,
      within: (db, work) => withTenant(db, tenant, work),
    };
  }
  // The same columns under another table's name, which is all that the types tell apart.
  const keys = operatorKeys as unknown as typeof idempotencyKeys;
  return { keys, id: 'platform', within: withPlatform };
}

function held({ holder, verb, keyHash, owner }: Claim) {
  const { keys, id } = ledgerOf(holder);
  return and(
    eq(keys.tenantId, id),
    eq(keys.verb, verb),
    eq(keys.keyHash, keyHash),
    eq(keys.owner, owner),
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
