import { ArmatureError } from '@armature/sdk/contract';
import type { Timer } from '../clock.ts';
import type { Shape } from '../policies/index.ts';
import type { ObservationQueue, Lane, Waiting } from './queue.ts';

/** Longest that a timer can wait, ms. */
const LONGEST_WAIT_MS = 2 ** 31 - 1;

/** How long a row waited and ran, and with how many others. Times in ms. */
export interface RunInfo {
  readonly queuedMs: number;
  readonly ranMs: number;
  readonly rows: number;
}

/** A row's work: what to run, and who hears how it went. Exactly one of the callbacks is called. */
export interface Job<Row, Result> {
  readonly kind: string;
  /** What decides, with the number of rows, which graph runs it. */
  readonly shape: Shape;
  /** The row, made when its run forms, so that it holds the latest. */
  row(): Row;
  done(result: Result, run: RunInfo): void;
  /** The run failed, or the row expired, or a newer one took its place. */
  dropped(reason: DropReason): void;
}

export type DropReason =
  | { readonly why: 'expired' | 'replaced' | 'withdrawn' }
  | { readonly why: 'failed'; readonly error: ArmatureError };

/** One engine, and the lanes that it serves; it runs one batch at a time. */
export interface EngineLane {
  readonly name: string;
  readonly serves: readonly Lane[];
}

export interface DispatcherOptions<Row, Result> {
  readonly queue: ObservationQueue<Enqueued<Row, Result>>;
  readonly engines: readonly EngineLane[];
  /** Runs rows of one kind together; results in the order of the rows. */
  readonly run: (kind: string, rows: readonly Row[]) => Promise<readonly Result[]>;
  /** Monotonic, ms. */
  readonly now: () => number;
  readonly after: Timer;
  readonly onRun?: (run: CompletedRun) => void;
  readonly onError: (error: unknown, kind: string, rows: number) => void;
}

export interface CompletedRun {
  readonly engine: string;
  readonly kind: string;
  readonly rows: number;
  readonly tenants: number;
  readonly ranMs: number;
}

export interface Enqueued<Row, Result> {
  readonly job: Job<Row, Result>;
  readonly offeredAt: number;
}

type Entry<Row, Result> = Waiting<Enqueued<Row, Result>>;

/** Hands batches to engines as they free, and outcomes to the sessions. */
export class Dispatcher<Row, Result> {
  private readonly options: DispatcherOptions<Row, Result>;
  /** Start of the run that each engine is busy with. */
  private readonly busy = new Map<string, number>();
  /** When rows are looked through for those that have become useless; Infinity when nobody will. */
  private watchAt = Infinity;
  private stopWatch = (): void => undefined;

  constructor(options: DispatcherOptions<Row, Result>) {
    this.options = options;
  }

  /** Puts a row in the queue, in place of an older one of its session, and starts what can start. */
  submit(row: Omit<Waiting<unknown>, 'job'> & { readonly job: Job<Row, Result> }): void {
    const entry = { ...row, job: { job: row.job, offeredAt: this.options.now() } };
    const replaced = this.options.queue.offer(entry);
    if (replaced !== undefined) replaced.job.job.dropped({ why: 'replaced' });
    this.pump();
    this.watch(this.options.queue.nextExpiry);
  }

  /** Takes out what a session has waiting. */
  withdraw(session: string): void {
    for (const row of this.options.queue.withdraw(session)) {
      row.job.job.dropped({ why: 'withdrawn' });
    }
  }

  get idle(): boolean {
    return this.busy.size === 0 && this.options.queue.size === 0;
  }

  /** How long the longest of the runs under way has taken, ms; 0 when none is. */
  longestRunMs(): number {
    const now = this.options.now();
    return Math.max(0, ...[...this.busy.values()].map((since) => now - since));
  }

  /** Whoever waits in vain is told when that is so, not only when an engine is free again. */
  private watch(expiry: number): void {
    if (expiry >= this.watchAt) return;
    const { queue, now, after } = this.options;
    this.stopWatch();
    this.watchAt = expiry;
    this.stopWatch = after(
      Math.min(LONGEST_WAIT_MS, Math.max(0, Math.ceil(expiry - now()))),
      () => {
        this.watchAt = Infinity;
        for (const row of queue.expire(now())) row.job.job.dropped({ why: 'expired' });
        this.watch(queue.nextExpiry);
      },
    );
  }

  private pump(): void {
    for (const engine of this.options.engines) {
      if (this.busy.has(engine.name)) continue;
      const { rows, expired } = this.options.queue.take(engine.serves, this.options.now());
      for (const row of expired) row.job.job.dropped({ why: 'expired' });
      if (rows.length > 0) void this.runBatch(engine, rows);
    }
  }

  private async runBatch(
    engine: EngineLane,
    entries: readonly Entry<Row, Result>[],
  ): Promise<void> {
    const started = this.options.now();
    this.busy.set(engine.name, started);
    const outcomes = await this.attempt(entries);
    const ranMs = this.options.now() - started;
    this.busy.delete(engine.name);
    for (const entry of entries) this.options.queue.release(entry);
    // The engine gets its next batch before this one's results are looked at, and those go out before all else.
    this.pump();
    entries.forEach((entry, i) => {
      const outcome = outcomes[i];
      const { job, offeredAt } = entry.job;
      if (outcome !== undefined && 'result' in outcome) {
        const queuedMs = started - offeredAt;
        job.done(outcome.result, { queuedMs, ranMs, rows: entries.length });
      } else {
        job.dropped({ why: 'failed', error: engineFailure(outcome?.error) });
      }
    });
    this.options.onRun?.({
      engine: engine.name,
      kind: entries[0]?.job.job.kind ?? '',
      rows: entries.length,
      tenants: new Set(entries.map((entry) => entry.tenant)).size,
      ranMs,
    });
  }

  /** Runs the rows together; where that fails, one by one, so that one bad row harms no other. */
  private async attempt(
    entries: readonly Entry<Row, Result>[],
  ): Promise<readonly Outcome<Result>[]> {
    const kind = entries[0]?.job.job.kind ?? '';
    try {
      const results = await this.options.run(
        kind,
        entries.map((entry) => entry.job.job.row()),
      );
      return results.map((result) => ({ result }));
    } catch (error) {
      this.options.onError(error, kind, entries.length);
      if (entries.length === 1) return [{ error }];
      const alone: Outcome<Result>[] = [];
      for (const entry of entries) alone.push(...(await this.attempt([entry])));
      return alone;
    }
  }
}

type Outcome<Result> = { readonly result: Result } | { readonly error: unknown };

function engineFailure(cause: unknown): ArmatureError {
  if (cause instanceof ArmatureError) return cause;
  return new ArmatureError('internal', 'the engine could not compute this observation', {
    fix: 'Hold and send the next observation.',
    cause,
  });
}
