import { eq, sql, tenants } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { notFound } from './find.ts';
import { mutate } from './mutate.ts';
import { presentTenant } from './present.ts';

/** Changes the tenant's name or the zone of its days. */
export const updateTenant: Service<'tenants.update'> = async (ctx, input) =>
  mutate(ctx, async (tx, note) => {
    const { name, time_zone: zone } = input;
    if (zone !== undefined) {
      const known = await tx.execute(sql`select from pg_timezone_names where name = ${zone}`);
      if (known.length === 0) {
        throw new ArmatureError('invalid_request', `time_zone: there is no zone ${zone}`, {
          field: 'time_zone',
          fix: 'Give an IANA name such as Europe/Berlin.',
        });
      }
    }
    const mine = eq(tenants.id, ctx.tenant);
    const changes = {
      ...(name === undefined ? {} : { name }),
      ...(zone === undefined ? {} : { timeZone: zone }),
    };
    const isChange = Object.keys(changes).length > 0;
    const [row] = isChange
      ? await tx.update(tenants).set(changes).where(mine).returning()
      : await tx.select().from(tenants).where(mine);
    if (row === undefined) throw notFound('tenant', ctx.tenant, 'authorization');
    if (isChange) note(ctx.tenant, input);
    return presentTenant(row);
  });
