import { closableUntil, closeUsageWindows, usageClosedUntil, withTenant } from '@armature/db';
import type { Sweep } from './sweep.ts';

/** Closes windows of usage, so that the first who asks for a month of it does not wait for all of them. */
export const closeUsage: Sweep = {
  name: 'close-usage',
  everyS: 900,
  forTenant: (tenant, { db, clock }) =>
    withTenant(db, tenant, async (tx) => {
      const before = await usageClosedUntil(tx, tenant);
      const after = await closeUsageWindows(tx, tenant, closableUntil(clock()));
      return before?.getTime() === after.getTime() ? 0 : 1;
    }),
};
