import { apiKeys, newId } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { presentKey } from './present.ts';
import { mutate } from './mutate.ts';

/** A new key of the tenant; its secret is in this answer and nowhere else. */
export const createKey: Service<'keys.create'> = async (ctx, input) => {
  const expiresAt = input.expires_at === undefined ? null : new Date(input.expires_at);
  if (expiresAt !== null && expiresAt <= ctx.clock()) {
    throw new ArmatureError('invalid_request', 'expires_at: lies in the past', {
      field: 'expires_at',
      fix: 'Give a later instant, or none for a key that does not expire.',
    });
  }
  const { secret, start, hash } = ctx.keys.mint();
  return mutate(ctx, async (tx, note) => {
    const [row] = await tx
      .insert(apiKeys)
      .values({
        id: newId('key'),
        tenantId: ctx.tenant,
        name: input.name,
        start,
        hash,
        scopes: [...new Set(input.scopes)],
        expiresAt,
      })
      .returning();
    if (row === undefined) throw new Error('insert gave no row');
    note(row.id, { name: row.name, scopes: row.scopes });
    return { key: presentKey(row), secret };
  });
};
