import type { LedgerEntry, UsageEntry } from '../entry.ts';
import type { LedgerSink, RejectedLine } from '../flusher.ts';

export function usage(n: number, over: Partial<UsageEntry> = {}): UsageEntry {
  return {
    kind: 'usage',
    id: `ses_1:0:${n}`,
    tenant_id: 'ten_1',
    session_id: 'ses_1',
    policy_version_id: 'pv_1',
    reasoning_id: null,
    actions: 16,
    reasoning_tokens: 0,
    compute_us: 1200,
    at: '2030-01-01T00:00:00.000Z',
    ...over,
  };
}

/** A sink that keeps entries by id, and fails or refuses when told to. */
export class MemorySink implements LedgerSink {
  readonly entries = new Map<string, LedgerEntry>();
  writes = 0;
  down = false;
  refuse: (entry: LedgerEntry) => boolean = () => false;

  async write(entries: readonly LedgerEntry[]): Promise<readonly RejectedLine[]> {
    this.writes += 1;
    if (this.down) throw new Error('connection refused');
    const refused = entries.filter((entry) => this.refuse(entry));
    for (const entry of entries) {
      if (!this.refuse(entry)) this.entries.set(`${entry.kind} ${entry.id}`, entry);
    }
    return refused.map((entry) => ({ line: JSON.stringify(entry), reason: 'refused' }));
  }
}

export const silent = { info: () => {}, warn: () => {}, error: () => {} };
