import { hashIdempotencyKey, openAnswer, sealAnswer } from './auth/seal.ts';
import type { TenantContext } from './services/context.ts';
import { claimKey, keepAnswer, releaseClaim } from './services/idempotency.ts';

export interface OnceRequest {
  readonly ctx: TenantContext;
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
export async function answerOnce(
  { ctx, input, key, pepper }: OnceRequest,
  perform: (ctx: TenantContext) => Promise<unknown>,
): Promise<unknown> {
  const request = { tenant: ctx.tenant, verb: ctx.verb, keyHash: hashIdempotencyKey(key), input };
  const found = await claimKey(ctx.db, request);
  if ('answer' in found) return JSON.parse(openAnswer(pepper, key, found.answer)) as unknown;
  const { claim } = found;
  let answer: unknown;
  try {
    answer = await perform({ ...ctx, claim });
  } catch (error) {
    await releaseClaim(ctx.db, ctx.tenant, claim);
    throw error;
  }
  await keepAnswer(ctx.db, ctx.tenant, claim, sealAnswer(pepper, key, JSON.stringify(answer)));
  return answer;
}
