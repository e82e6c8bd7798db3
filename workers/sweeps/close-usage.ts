import { closableUntil, closeUsage, usageClosedUntil, withTenant } from '@armature/db';
import type { Sweep } from './sweep.ts';

/** Closes windows of usage, so that the first who asks for a month of it does not wait for all of them. */
export const openUsage: Sweep = {
  name: 'close-usage',
  everyS: 900,
  forTenant: async (tenant, { db, clock }) => {
    const before = await withTenant(db, tenant, (tx) => usageClosedUntil(tx, tenant));
    const after = await closeUsage(db, tenant, closableUntil(clock()));
    return before?.getTime() === after.getTime() ? 0 : 1;
  },
};
