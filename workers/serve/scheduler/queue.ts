import { TenantShares } from './tenant-shares.ts';

/** Which engine lane computes a row: actions, or reasoning alone. */
export type Lane = 'act' | 'reason';

/** One row that waits for an engine. Times are ms on one clock. */
export interface Waiting<T> {
  readonly session: string;
  readonly tenant: string;
  readonly lane: Lane;
  /** Only rows of one group share a run. */
  readonly group: string;
  /** The earliest goes first. */
  readonly deadline: number;
  /** From then on the row is useless and never runs; Infinity for never. */
  readonly expires: number;
  /** Rows of this session and lane that may run at once. */
  readonly inFlightLimit: number;
  /** Weight of its tenant: what the tenant is served counts for it divided by this. */
  readonly weight: number;
  /** What computing it costs, in rows of the cheapest kind. */
  readonly cost: number;
  readonly job: T;
}

export interface QueueOptions<T> {
  /** Rows a run. */
  readonly maxRows: number;
  /** How many rows the next run takes of so many that it may; all that fit unless told. */
  readonly runSize?: (waiting: number) => number;
  /** Cost by which a tenant may run ahead of the one served least before others go first. */
  readonly quantum: number;
  /** Rows of one tenant that may run at once, on all engines together; no limit unless told. */
  readonly tenantLimit?: number;
  /** Whether these rows of one group may run together; asked of two or more. */
  readonly fits?: (rows: readonly T[]) => boolean;
}

export interface Taken<T> {
  /** Rows to run together now; empty when nothing may run. */
  readonly rows: readonly Waiting<T>[];
  /** Rows that were too late, taken out. */
  readonly expired: readonly Waiting<T>[];
}

/**
 * What waits for the engines: the newest row of each session and lane. An engine that is free takes
 * whatever waits, at once. Earliest deadline first among the tenants within their share; the rest
 * fill what is left of the run. A plain data structure: no clock and no callback.
 */
export class ObservationQueue<T> {
  private readonly options: QueueOptions<T>;
  private readonly waiting = new Map<string, Waiting<T>>();
  private readonly running = new Map<string, number>();
  private readonly tenantRunning = new Map<string, number>();
  private readonly shares = new TenantShares();

  constructor(options: QueueOptions<T>) {
    this.options = options;
  }

  get size(): number {
    return this.waiting.size;
  }

  /** Puts a row in place of the one that the session had waiting in this lane, which is returned. */
  offer(row: Waiting<T>): Waiting<T> | undefined {
    const key = keyOf(row);
    const replaced = this.waiting.get(key);
    this.waiting.set(key, row);
    if (replaced === undefined) this.shares.enter(row.tenant);
    return replaced;
  }

  /** When the first of the rows that wait becomes useless; Infinity where none ever does. */
  get nextExpiry(): number {
    return Math.min(Infinity, ...[...this.waiting.values()].map((row) => row.expires));
  }

  /** Takes out the rows that are useless by now. */
  expire(now: number): Waiting<T>[] {
    const expired = [...this.waiting.values()].filter((row) => row.expires <= now);
    for (const row of expired) this.remove(row);
    return expired;
  }

  /** Takes the next run of these lanes out of the queue; `release` each of its rows when it ends. */
  take(lanes: readonly Lane[], now: number): Taken<T> {
    const expired = this.expire(now);
    const ready = [...this.waiting.values()].filter(
      (row) =>
        lanes.includes(row.lane) && this.inFlight(row) < row.inFlightLimit && this.mayRun(row),
    );
    const rows: Waiting<T>[] = [];
    const first = this.pick(ready);
    if (first === undefined) return { rows, expired };
    const group = ready.filter((row) => row.lane === first.lane && row.group === first.group);
    const { maxRows, runSize } = this.options;
    const most = Math.min(maxRows, runSize?.(group.length) ?? maxRows);
    for (
      let next: Waiting<T> | undefined = first;
      next !== undefined && rows.length < most;
      next = this.pick(group)
    ) {
      group.splice(group.indexOf(next), 1);
      if (!this.mayRun(next) || !this.fits(rows, next)) continue;
      rows.push(next);
      this.waiting.delete(keyOf(next));
      count(this.running, keyOf(next), 1);
      count(this.tenantRunning, next.tenant, 1);
      this.shares.charge(next.tenant, next.cost / next.weight);
    }
    return { rows, expired };
  }

  /** A row's run has ended. */
  release(row: Waiting<T>): void {
    count(this.running, keyOf(row), -1);
    count(this.tenantRunning, row.tenant, -1);
    this.shares.leave(row.tenant);
  }

  /** Takes out what a session has waiting. */
  withdraw(session: string): Waiting<T>[] {
    const rows = [...this.waiting.values()].filter((row) => row.session === session);
    for (const row of rows) this.remove(row);
    return rows;
  }

  private fits(rows: readonly Waiting<T>[], next: Waiting<T>): boolean {
    const { fits } = this.options;
    return rows.length === 0 || fits === undefined || fits([...rows, next].map((row) => row.job));
  }

  private remove(row: Waiting<T>): void {
    this.waiting.delete(keyOf(row));
    this.shares.leave(row.tenant);
  }

  private mayRun(row: Waiting<T>): boolean {
    const { tenantLimit = Infinity } = this.options;
    return (this.tenantRunning.get(row.tenant) ?? 0) < tenantLimit;
  }

  private inFlight(row: Waiting<T>): number {
    return this.running.get(keyOf(row)) ?? 0;
  }

  /** Within their share first, then by how far ahead, then by deadline. */
  private pick(rows: readonly Waiting<T>[]): Waiting<T> | undefined {
    const floor = this.shares.least(rows.map((row) => row.tenant));
    let best: { row: Waiting<T>; ahead: number } | undefined;
    for (const row of rows) {
      const lead = this.shares.served(row.tenant) - floor;
      const ahead = lead > this.options.quantum ? lead : 0;
      if (
        best === undefined ||
        ahead < best.ahead ||
        (ahead === best.ahead && row.deadline < best.row.deadline)
      ) {
        best = { row, ahead };
      }
    }
    return best?.row;
  }
}

/** Adds to a count; one that comes to nothing is forgotten. */
function count(counts: Map<string, number>, key: string, change: number): void {
  const next = (counts.get(key) ?? 0) + change;
  if (next > 0) counts.set(key, next);
  else counts.delete(key);
}

function keyOf(row: { readonly lane: Lane; readonly session: string }): string {
  return `${row.lane} ${row.session}`;
}
