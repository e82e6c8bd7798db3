import { and, eq, webhookEndpoints, webhookOwner, withTenant } from '@armature/db';
import type { Sweep } from './sweep.ts';

/**
 * Seals secrets of webhooks anew that an earlier key has sealed, so that it can leave the configuration, and
 * forgets those that a rotation has replaced.
 */
export const resealSecrets: Sweep = {
  name: 'reseal-secrets',
  everyS: 3_600,
  forTenant: (tenant, { db, sealing, clock }) =>
    withTenant(db, tenant, async (tx) => {
      const rows = await tx
        .select()
        .from(webhookEndpoints)
        .where(eq(webhookEndpoints.tenantId, tenant))
        .for('update');
      let changed = 0;
      for (const { id, sealedSecret, sealedPrevious, previousUntil } of rows) {
        const anew = (sealed: string): string => {
          if (sealing.isCurrent(sealed)) return sealed;
          const owner = webhookOwner(tenant, id);
          return sealing.seal(sealing.open(sealed, owner), owner);
        };
        const isOver = previousUntil !== null && previousUntil <= clock();
        const secret = anew(sealedSecret);
        const previous = isOver || sealedPrevious === null ? null : anew(sealedPrevious);
        if (secret === sealedSecret && previous === sealedPrevious) continue;
        await tx
          .update(webhookEndpoints)
          .set({
            sealedSecret: secret,
            sealedPrevious: previous,
            previousUntil: previous === null ? null : previousUntil,
          })
          .where(and(eq(webhookEndpoints.tenantId, tenant), eq(webhookEndpoints.id, id)));
        changed += 1;
      }
      return changed;
    }),
};
