import { DatabaseError, writeRecords, type Db } from '@armature/db';
import { judgeCanaries } from './canary-judge.ts';
import type { LedgerEntry } from './entry.ts';
import type { LedgerSink, RejectedLine } from './flusher.ts';
import type { LedgerLog } from './ledger.ts';

/** SQLSTATE classes of rows that no later attempt will get in: bad data, broken constraint, denied. */
const PERMANENT = /^(22|23|42)/;
/** Versions whose last judgement is remembered; asking again does no harm. */
const MOST_REMEMBERED = 10_000;

/**
 * Writes entries to PostgreSQL, one statement a tenant; ids that are there already change nothing.
 * A canary that the faults or deviations among them show to be worse is rolled back after it.
 */
export class DatabaseSink implements LedgerSink {
  private readonly db: Db;
  private readonly log: LedgerLog;
  /** The minute in which a version was judged last. */
  private readonly lookedAt = new Map<string, number>();

  constructor(db: Db, log: LedgerLog) {
    this.db = db;
    this.log = log;
  }

  async write(entries: readonly LedgerEntry[]): Promise<readonly RejectedLine[]> {
    const rejected: RejectedLine[] = [];
    const tenants = new Map<string, LedgerEntry[]>();
    for (const entry of entries) {
      const known = tenants.get(entry.tenant_id);
      if (known === undefined) tenants.set(entry.tenant_id, [entry]);
      else known.push(entry);
    }
    for (const [tenant, own] of tenants) {
      rejected.push(...(await this.writeTenant(tenant, own)));
      const versions = this.toJudge(own);
      if (versions.length > 0) await judgeCanaries(this.db, tenant, versions, this.log);
    }
    return rejected;
  }

  /** Versions that have faults among these, and those whose deviations were not looked at this minute. */
  private toJudge(entries: readonly LedgerEntry[]): string[] {
    const minute = Math.floor(Date.now() / 60_000);
    const versions = new Set<string>();
    for (const entry of entries) {
      if (entry.kind === 'reasoning') continue;
      const { policy_version_id: version } = entry;
      const measured = entry.kind === 'usage' && entry.deviation !== undefined;
      if (entry.kind === 'fault' || (measured && this.lookedAt.get(version) !== minute)) {
        versions.add(version);
      }
    }
    if (this.lookedAt.size > MOST_REMEMBERED) this.lookedAt.clear();
    for (const version of versions) this.lookedAt.set(version, minute);
    return [...versions];
  }

  /** All of a tenant's entries; where they are refused, each alone, to find the one at fault. */
  private async writeTenant(
    tenant: string,
    entries: readonly LedgerEntry[],
  ): Promise<readonly RejectedLine[]> {
    try {
      await writeRecords(this.db, tenant, entries);
      return [];
    } catch (error) {
      if (!(error instanceof DatabaseError) || !PERMANENT.test(error.code)) throw error;
      const [first, ...others] = entries;
      if (first === undefined) return [];
      if (others.length === 0) return [{ line: JSON.stringify(first), reason: error.message }];
      const rejected: RejectedLine[] = [];
      for (const entry of entries) rejected.push(...(await this.writeTenant(tenant, [entry])));
      return rejected;
    }
  }
}
