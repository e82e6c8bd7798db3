import type { RouteName } from '@armature/sdk/contract';
import { hashIdempotencyKey, openAnswer, sealAnswer } from './auth/seal.ts';
import type { PlatformContext } from './services/context.ts';
import {
  claimKey,
  keepAnswer,
  releaseClaim,
  type Claim,
  type KeyHolder,
} from './services/idempotency.ts';

export interface OnceRequest<C> {
  readonly ctx: C;
  readonly holder: KeyHolder;
  readonly verb: RouteName;
  /** The parsed input. */
  readonly input: unknown;
  /** The caller's idempotency key. */
  readonly key: string;
  readonly pepper: string;
}

/**
 * Carries a mutation out once for a key, and answers every later request of it as the first: with
 * the answer that is kept for a day, sealed with the key. A mutation that failed is forgotten, so
 * that the key can be used again.
 * @throws ArmatureError as `claimKey` and `perform` do.
 */
export async function answerOnce<C extends PlatformContext>(
  { ctx, holder, verb, input, key, pepper }: OnceRequest<C>,
  perform: (ctx: C & { claim: Claim }) => Promise<unknown>,
): Promise<unknown> {
  const { db, claimLifeS } = ctx;
  const keyHash = hashIdempotencyKey(key);
  const found = await claimKey(db, { holder, verb, keyHash, input, claimLifeS });
  if ('answer' in found) return JSON.parse(openAnswer(pepper, key, found.answer)) as unknown;
  const { claim } = found;
  let answer: unknown;
  try {
    answer = await perform({ ...ctx, claim });
  } catch (error) {
    await releaseClaim(db, claim);
    throw error;
  }
  await keepAnswer(db, claim, sealAnswer(pepper, key, JSON.stringify(answer)));
  return answer;
}
