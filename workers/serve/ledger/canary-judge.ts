import {
  canaryRecords,
  rollBackCanary,
  withTenant,
  type CanaryRecord,
  type Db,
} from '@armature/db';
import { fishersExact, type Trials } from './fishers-exact.ts';
import type { LedgerLog } from './ledger.ts';

/** How often a canary that is no worse than the deployed version is rolled back, however long it runs. */
const FALSE_ALARMS = 0.01;
/** Attempts of either version without which nothing is said. */
const FEWEST = 20;

/** Why a canary is to end. */
export interface Verdict {
  readonly message: string;
  readonly detail: Readonly<Record<string, number>>;
}

/**
 * Whether a canary fails more often than the deployed version: one-sided, by Fisher's exact test, over
 * attempts (chunks that were sent, chunks that were refused, sessions that the version could not be
 * loaded for). It is asked anew with every window that is over, so that the k-th question has the share
 * 6 / (π² k²) of the false alarms that are allowed; the shares add up to all of them.
 *
 * The deployed version is taken at the same time as the canary; with fewer than twenty attempts there,
 * with the day before.
 */
export function verdictOn(record: CanaryRecord): Verdict | undefined {
  const canary = trialsOf(record.canary);
  const beside = trialsOf(record.stable);
  const stable = beside.trials < FEWEST ? trialsOf(record.stableBefore) : beside;
  if (canary.trials < FEWEST || stable.trials < FEWEST) return undefined;
  const p = fishersExact(canary, stable);
  const limit = (FALSE_ALARMS * 6) / (Math.PI * record.canary.windows) ** 2;
  if (p >= limit) return undefined;
  const said = ({ failures, trials }: Trials) => `${failures} of ${trials}`;
  return {
    message: `canary ${record.canaryId} was rolled back: ${said(canary)} attempts failed, of the deployed version ${said(stable)}`,
    detail: {
      faults: canary.failures,
      attempts: canary.trials,
      stable_faults: stable.failures,
      stable_attempts: stable.trials,
      p,
      limit,
    },
  };
}

function trialsOf({ chunks, faults }: CanaryRecord['canary']): Trials {
  return { failures: faults, trials: chunks + faults };
}

/** Rolls back the canaries among these versions that are worse. What fails is logged, and asked again later. */
export async function judgeCanaries(
  db: Db,
  tenant: string,
  versions: readonly string[],
  log: LedgerLog,
): Promise<void> {
  try {
    await withTenant(db, tenant, async (tx) => {
      for (const record of await canaryRecords(tx, tenant, versions)) {
        const verdict = verdictOn(record);
        if (verdict === undefined || !(await rollBackCanary(tx, tenant, record, verdict))) continue;
        log.warn({ canary: record.canaryId, ...verdict.detail }, verdict.message);
      }
    });
  } catch (error) {
    log.error({ err: error, versions }, 'the canaries could not be judged');
  }
}
