/** What one session needs of the engines: rows a second of each kind. */
export type Demand = Readonly<Record<string, number>>;

export interface CapacityOptions {
  readonly engines: number;
  /** Share of the engines' time that sessions may need altogether; over 1 promises more than there is. */
  readonly fill: number;
  /** Until the engines were busy for this share of the window, none is refused for the others' sake. */
  readonly busyFrom: number;
  readonly windowMs: number;
}

/** A run that has ended; times on one clock in ms. */
export interface MeasuredRun {
  readonly kind: string;
  readonly rows: number;
  readonly ranMs: number;
  readonly endedAt: number;
}

/** Weight of the newest run in what a row costs. */
const NEWEST = 0.2;

/**
 * Whether the engines can hold one more session at its rate, by what runs have cost of late. A row's
 * cost is that of the batch size that was cheapest a row, so that a quiet worker, whose runs are
 * small, does not count as a slow one. Pure: knows no clock.
 */
export class Capacity {
  private readonly options: CapacityOptions;
  /** Mean time of a run in ms, by kind and rows. */
  private readonly costs = new Map<string, Map<number, number>>();
  private readonly runs: MeasuredRun[] = [];
  private readonly sessions = new Map<string, Demand>();

  constructor(options: CapacityOptions) {
    this.options = options;
  }

  observe(run: MeasuredRun): void {
    const byRows = this.costs.get(run.kind) ?? new Map<number, number>();
    const before = byRows.get(run.rows);
    byRows.set(run.rows, before === undefined ? run.ranMs : mix(before, run.ranMs));
    this.costs.set(run.kind, byRows);
    this.runs.push(run);
    this.forget(run.endedAt);
  }

  /**
   * Counts a session among those that are held, until the function that is returned is called. Its
   * next connection takes the place of the one before.
   */
  hold(session: string, demand: Demand): () => void {
    const own = { ...demand };
    this.sessions.set(session, own);
    return () => {
      if (this.sessions.get(session) === own) this.sessions.delete(session);
    };
  }

  /**
   * Why a session cannot be held at its rate, with what was measured; undefined when it can.
   * @param within ms by which a chunk is needed.
   * @param now ms.
   */
  refusal(session: string, demand: Demand, within: number, now: number): string | undefined {
    const { engines, fill, busyFrom } = this.options;
    const alone = Math.max(0, ...Object.keys(demand).map((kind) => this.fastest(kind) ?? 0));
    if (alone > within * Math.max(1, fill)) {
      return `one chunk takes ${ms(alone)} here, this robot runs out of actions after ${ms(within)}`;
    }
    const busy = this.busy(now);
    const others = [...this.sessions].filter(([held]) => held !== session);
    const held = others.reduce((sum, [, needs]) => sum + this.share(needs), 0);
    const more = this.share(demand);
    if (held + more <= fill * engines || busy < busyFrom) return undefined;
    return (
      `the engines were busy ${percent(busy)} of late; ${others.length} sessions need ` +
      `${percent(held / engines)} of them and this one ${percent(more / engines)} more`
    );
  }

  /** Share of the window that the engines were busy, 0 to 1. @param now ms. */
  busy(now: number): number {
    this.forget(now);
    const { engines, windowMs } = this.options;
    const from = now - windowMs;
    const spent = this.runs.reduce(
      (sum, { endedAt, ranMs }) => sum + Math.min(ranMs, Math.max(0, endedAt - from)),
      0,
    );
    return Math.min(1, spent / (windowMs * engines));
  }

  /** What a row of a kind costs, in rows of the cheapest kind; 1 as long as nothing was measured. */
  rowCost(kind: string): number {
    const own = this.costOfRow(kind);
    if (own === undefined) return 1;
    const all = [...this.costs.keys()].map((one) => this.costOfRow(one) ?? own);
    return own / Math.min(...all);
  }

  /** Engines that a session keeps busy, in engines; kinds that never ran count nothing. */
  private share(demand: Demand): number {
    return Object.entries(demand).reduce(
      (sum, [kind, rate]) => sum + (rate * (this.costOfRow(kind) ?? 0)) / 1000,
      0,
    );
  }

  private costOfRow(kind: string): number | undefined {
    const byRows = [...(this.costs.get(kind) ?? [])];
    if (byRows.length === 0) return undefined;
    return Math.min(...byRows.map(([rows, ranMs]) => ranMs / rows));
  }

  /** The shortest run of a kind, ms. */
  private fastest(kind: string): number | undefined {
    const times = [...(this.costs.get(kind)?.values() ?? [])];
    return times.length === 0 ? undefined : Math.min(...times);
  }

  private forget(now: number): void {
    const from = now - this.options.windowMs;
    while (this.runs[0] !== undefined && this.runs[0].endedAt < from) this.runs.shift();
  }
}

function mix(before: number, newest: number): number {
  return before * (1 - NEWEST) + newest * NEWEST;
}

function ms(value: number): string {
  return `${Math.round(value)} ms`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
