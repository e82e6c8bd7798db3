import { allTenants, type Queue, type QueuedWork } from '@armature/db';
import type { Logger } from 'pino';
import type { Sweep, SweepServices } from './sweep.ts';

export interface SweepRun extends SweepServices {
  readonly queue: Pick<Queue, 'complete' | 'fail'>;
  readonly sweeps: readonly Sweep[];
  readonly log: Logger;
  /** Ends it after the tenant that is being swept. */
  readonly stop: AbortSignal;
}

/** Share of the time after which the queue takes a worker for lost, at which a sweep ends by itself. */
const OWN_SHARE = 0.8;

/**
 * One sweep through all tenants, each in a transaction of its own. Where it fails for one the others are
 * swept all the same, and it is tried again later. Never throws.
 */
export async function runSweep(work: QueuedWork<'sweep'>, run: SweepRun): Promise<void> {
  const { queue, sweeps, stop } = run;
  const log = run.log.child({ sweep: work.data.sweep, work: work.id });
  const sweep = sweeps.find(({ name }) => name === work.data.sweep);
  try {
    if (sweep === undefined) {
      // Another release's, which has its own processes or none any more.
      log.warn('no such sweep');
      await queue.complete(work);
      return;
    }
    const end = AbortSignal.any([stop, AbortSignal.timeout(work.expiresInMs * OWN_SHARE)]);
    const swept = { tenants: 0, done: 0, failed: 0 };
    for await (const tenant of allTenants(run.db)) {
      if (end.aborted) break;
      swept.tenants += 1;
      try {
        const done = await sweep.forTenant(tenant, run);
        swept.done += done;
      } catch (error) {
        swept.failed += 1;
        log.error({ err: error, tenant }, 'a tenant was not swept');
      }
    }
    if (swept.failed === 0 && !end.aborted) await queue.complete(work);
    else await queue.fail(work, end.aborted ? 'ended before its end' : 'failed for some tenants');
    log.info({ ...swept, whole: !end.aborted }, 'swept');
  } catch (error) {
    log.error({ err: error }, 'a sweep could not be ended; the queue finds it again');
  }
}
