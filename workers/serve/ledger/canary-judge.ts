import {
  canaryRecords,
  rollBackCanary,
  withTenant,
  type CanaryRecord,
  type Db,
} from '@armature/db';
import { fishersExact, type Trials } from './fishers-exact.ts';
import { median } from 'simple-statistics';
import type { LedgerLog } from './ledger.ts';
import { rankSum } from './rank-sum.ts';

/** How often a canary that is no worse is rolled back for its faults, and for its deviations, however long it runs. */
const FALSE_ALARMS = 0.01;
/** Sessions of either version without which nothing is said of deviations. */
const FEWEST_SESSIONS = 5;
/** Of the deployed version's median deviation: a canary that is worse by less is kept. */
const TOLERATED = 1.1;
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
  return verdictOnFaults(record) ?? verdictOnDeviations(record);
}

function verdictOnFaults(record: CanaryRecord): Verdict | undefined {
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

/**
 * Whether the robots of a canary stay farther from where its chunks have them go than those of the deployed
 * version at the same time: one-sided, by the rank-sum test over the mean deviations of sessions, which are
 * what the canary is drawn by. The j-th look has the share 6 / (π² j²) of the false alarms.
 */
function verdictOnDeviations({ canaryId, deviations }: CanaryRecord): Verdict | undefined {
  const { look, canary, stable } = deviations;
  if (canary.length < FEWEST_SESSIONS || stable.length < FEWEST_SESSIONS) return undefined;
  const [is, was] = [median(canary), median(stable)];
  if (is <= was * TOLERATED) return undefined;
  const p = rankSum(canary, stable);
  const limit = (FALSE_ALARMS * 6) / (Math.PI * look) ** 2;
  if (p >= limit) return undefined;
  const said = (share: number) => `${(share * 100).toFixed(2)} %`;
  return {
    message: `canary ${canaryId} was rolled back: its robots stay ${said(is)} of their joints' ranges from where they are to go, those of the deployed version ${said(was)}`,
    detail: {
      deviation: is,
      sessions: canary.length,
      stable_deviation: was,
      stable_sessions: stable.length,
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
