import { apiKeys, keyLimits, newId } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { presentKey } from './present.ts';
import { mutate } from './mutate.ts';

/** A rotation gives the new key as long a life as the old one had, which has to end in a year that can be told. */
const LONGEST_LIFE_MS = 100 * 365.25 * 86_400_000;

/** A new key of the tenant; its secret is in this answer and nowhere else. */
export const createKey: Service<'keys.create'> = async (ctx, input) => {
  const expiresAt = input.expires_at === undefined ? null : new Date(input.expires_at);
  if (expiresAt !== null && expiresAt <= ctx.clock()) {
    throw new ArmatureError('invalid_request', 'expires_at: lies in the past', {
      field: 'expires_at',
      fix: 'Give a later instant, or none for a key that does not expire.',
    });
  }
  if (expiresAt !== null && expiresAt.getTime() - ctx.clock().getTime() > LONGEST_LIFE_MS) {
    throw new ArmatureError('invalid_request', 'expires_at: lies more than 100 years ahead', {
      field: 'expires_at',
      fix: 'Give an earlier instant, or none for a key that does not expire.',
    });
  }
  const { secret, start, hash } = ctx.keys.mint();
  return mutate(ctx, async (tx, note) => {
    const id = newId('key');
    const [row] = await tx
      .insert(apiKeys)
      .values({
        id,
        lineage: id,
        tenantId: ctx.tenant,
        name: input.name,
        start,
        hash,
        scopes: [...new Set(input.scopes)],
        expiresAt,
      })
      .returning();
    if (row === undefined) throw new Error('insert gave no row');
    const limits = Object.entries(input.limits);
    if (limits.length > 0) {
      await tx
        .insert(keyLimits)
        .values(
          limits.map(([name, value]) => ({ tenantId: ctx.tenant, lineage: id, name, value })),
        );
    }
    note(id, { name: row.name, scopes: row.scopes, limits: input.limits });
    return { key: presentKey(row, input.limits), secret };
  });
};
