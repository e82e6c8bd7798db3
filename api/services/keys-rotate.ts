import { and, apiKeys, eq, newId } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { lockKey } from './find.ts';
import { limitsOfKey } from './key-limits.ts';
import { mutate } from './mutate.ts';
import { presentKey } from './present.ts';

/**
 * A key in place of another, with its name, its scopes, its quotas and as long a life as the old one
 * had. What either made counts for both. The old one ends after the overlap, or when it would have ended anyway.
 */
export const rotateKey: Service<'keys.rotate'> = async (ctx, { id, overlap_s: overlap }) => {
  const now = ctx.clock();
  const { secret, start, hash } = ctx.keys.mint();
  const answer = await mutate(ctx, async (tx, note) => {
    const old = await lockKey(tx, ctx.tenant, id);
    if (old.revokedAt !== null || (old.expiresAt !== null && old.expiresAt <= now)) {
      throw new ArmatureError('conflict', `key ${id} has ended`, {
        field: 'id',
        fix: 'Make a new key.',
      });
    }
    const life = old.expiresAt === null ? null : old.expiresAt.getTime() - old.createdAt.getTime();
    const [made] = await tx
      .insert(apiKeys)
      .values({
        id: newId('key'),
        tenantId: ctx.tenant,
        lineage: old.lineage,
        name: old.name,
        start,
        hash,
        scopes: old.scopes,
        memberId: old.memberId,
        expiresAt: life === null ? null : new Date(now.getTime() + life),
      })
      .returning();
    const ends = new Date(now.getTime() + overlap * 1000);
    const expiresAt = old.expiresAt === null || ends < old.expiresAt ? ends : old.expiresAt;
    const [ending] = await tx
      .update(apiKeys)
      .set({ expiresAt })
      .where(and(eq(apiKeys.tenantId, ctx.tenant), eq(apiKeys.id, id)))
      .returning();
    if (made === undefined || ending === undefined) throw new Error('writing a key gave no row');
    note(id, { replaced_by: made.id, expires_at: expiresAt.toISOString() });
    const limits = await limitsOfKey(tx, ctx.tenant, old);
    return { key: presentKey(made, limits), secret, old: presentKey(ending, limits) };
  });
  await ctx.keys.forget(id);
  return answer;
};
