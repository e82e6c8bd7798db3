import type { SessionClaims } from '@armature/sdk/contract';
import type { DropReason, Waiting } from '../../workers/serve/scheduler/index.ts';

/** A row as it was handed to the scheduler. */
export type WatchedRow = Pick<
  Waiting<unknown>,
  'session' | 'tenant' | 'lane' | 'group' | 'deadline'
>;

export interface WatchOptions {
  /** Rows a run. */
  readonly maxRows: number;
  /** How far one tenant may run ahead of another, in rows divided by its weight. */
  readonly quantum: number;
  readonly tenantLimit: number;
  /** What the token of a session (by its name in the queue) allows. */
  readonly limits: (session: string) => SessionClaims['limits'];
}

/**
 * Looks at what a scheduler is given and what it runs, with books of its own: the newest of a session
 * runs, earliest deadline first within a tenant, no session and no tenant above what it may have in
 * flight, and while a tenant waits no other is served more than its share allows.
 */
export class ScheduleWatch {
  /** What should never have happened. */
  readonly violations: string[] = [];
  /** Rows that a newer one took the place of, and rows that waited until they were useless. */
  overtaken = 0;
  expired = 0;
  private readonly options: WatchOptions;
  /** The newest row of each session and lane that has not begun. */
  private readonly waiting = new Map<string, WatchedRow>();
  private readonly running = new Set<WatchedRow>();
  private forming: WatchedRow[] = [];
  /** Rows that each tenant was served, divided by its weight. */
  private readonly served = new Map<string, number>();
  /** What all had been served when a tenant began to wait that might have run. */
  private readonly since = new Map<string, ReadonlyMap<string, number>>();

  constructor(options: WatchOptions) {
    this.options = options;
  }

  offered(row: WatchedRow): void {
    this.waiting.set(keyOf(row), row);
    this.recount();
  }

  dropped(row: WatchedRow, { why }: DropReason): void {
    const isNewest = this.waiting.get(keyOf(row)) === row;
    if (why === 'replaced') {
      this.overtaken += 1;
      if (isNewest) this.violations.push(`the newest row of ${row.session} gave way to an older`);
    }
    if (why === 'expired') {
      this.expired += 1;
      this.checkShare(row.tenant, 'let a row expire');
    }
    if (isNewest) this.waiting.delete(keyOf(row));
    this.recount();
  }

  /** A row is part of the run that forms. */
  begun(row: WatchedRow): void {
    this.forming.push(row);
  }

  /** The rows that have begun since the last run are one. */
  started(): readonly WatchedRow[] {
    const rows = this.forming;
    this.forming = [];
    for (const row of rows) {
      if (this.waiting.get(keyOf(row)) !== row) {
        this.violations.push(`an old row of ${row.session} ran, and a newer one was there`);
      }
      this.waiting.delete(keyOf(row));
      this.running.add(row);
      const { share = 1 } = this.options.limits(row.session);
      this.served.set(row.tenant, (this.served.get(row.tenant) ?? 0) + 1 / share);
    }
    for (const row of rows) this.checkRow(row);
    for (const tenant of this.since.keys()) this.checkShare(tenant, 'waited');
    this.recount();
    return rows;
  }

  ended(rows: readonly WatchedRow[]): void {
    for (const row of rows) this.running.delete(row);
    this.recount();
  }

  private checkRow(row: WatchedRow): void {
    const inFlight = this.inFlight(row);
    if (inFlight > this.options.limits(row.session).max_in_flight) {
      this.violations.push(`${row.session} had ${inFlight} rows of ${row.lane} in flight`);
    }
    const ofTenant = this.ofTenant(row.tenant);
    if (ofTenant > this.options.tenantLimit) {
      this.violations.push(`${row.tenant} had ${ofTenant} rows in flight`);
    }
    for (const other of this.waiting.values()) {
      const alike =
        other.tenant === row.tenant && other.lane === row.lane && other.group === row.group;
      if (!alike || other.deadline >= row.deadline || !this.sessionMay(other)) continue;
      this.violations.push(`${row.session} ran before ${other.session}, which was due earlier`);
    }
  }

  /** Nobody was served more than its share allows while this tenant waited. */
  private checkShare(tenant: string, what: string): void {
    const before = this.since.get(tenant);
    if (before === undefined) return;
    const gained = (of: string): number => (this.served.get(of) ?? 0) - (before.get(of) ?? 0);
    const most = 2 * (this.options.quantum + this.options.maxRows);
    for (const other of this.served.keys()) {
      const lead = gained(other) - gained(tenant);
      if (lead <= most) continue;
      this.violations.push(`${tenant} ${what} while ${other} was served ${lead} rows more`);
    }
  }

  private recount(): void {
    const now = new Set(
      [...this.waiting.values()]
        .filter((row) => row.lane === 'act' && this.sessionMay(row) && this.tenantMay(row))
        .map((row) => row.tenant),
    );
    for (const tenant of this.since.keys()) if (!now.has(tenant)) this.since.delete(tenant);
    for (const tenant of now) {
      if (!this.since.has(tenant)) this.since.set(tenant, new Map(this.served));
    }
  }

  private sessionMay(row: WatchedRow): boolean {
    return this.inFlight(row) < this.options.limits(row.session).max_in_flight;
  }

  private tenantMay({ tenant }: WatchedRow): boolean {
    return this.ofTenant(tenant) < this.options.tenantLimit;
  }

  private inFlight(row: WatchedRow): number {
    return [...this.running].filter((one) => keyOf(one) === keyOf(row)).length;
  }

  private ofTenant(tenant: string): number {
    return [...this.running].filter((one) => one.tenant === tenant).length;
  }
}

function keyOf({ lane, session }: WatchedRow): string {
  return `${lane} ${session}`;
}
