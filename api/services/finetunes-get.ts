import { withTenant } from '@armature/db';
import type { Service } from './context.ts';
import { findFinetune } from './find.ts';
import { attemptsOf } from './finetune-attempts.ts';
import { presentFinetune } from './present.ts';

export const getFinetune: Service<'finetunes.get'> = async (ctx, { id }) =>
  withTenant(ctx.db, ctx.tenant, async (tx) => {
    const row = await findFinetune(tx, ctx.tenant, id);
    const attempts = await attemptsOf(tx, ctx.tenant, [id]);
    return presentFinetune(row, attempts.get(id) ?? 0);
  });
