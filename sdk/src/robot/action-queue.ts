import type { Chunk } from './chunk.ts';
import type { ActionRow, EmbodimentShape } from './embodiment.ts';

/**
 * What becomes of a step that both the chunk in hand and a new one have: the new one's (`latest`), or
 * a mixture in which the new one counts 0.7 (`weighted`), 0.5 (`average`) or 0.3 (`conservative`).
 */
export type Aggregate = 'latest' | 'weighted' | 'average' | 'conservative';

const NEW_SHARE: Readonly<Record<Aggregate, number>> = {
  latest: 1,
  weighted: 0.7,
  average: 0.5,
  conservative: 0.3,
};

/** The action of one control tick. */
export interface NextAction<S extends EmbodimentShape> {
  readonly chunk: Chunk<S>;
  /** Step within the chunk, from 0. */
  readonly step: number;
  readonly row: ActionRow<S>;
  /** The row is not the chunk's own: a mixture with an earlier chunk's, or what limits made of it. */
  readonly mixed: boolean;
}

/**
 * The steps that are still to be executed, and how far the robot has come. Step 0 of a chunk belongs
 * to the moment of its observation: as many of its steps are past as actions were executed since
 * then, whatever the clock says, so a robot that stood still loses none.
 */
export class ActionQueue<S extends EmbodimentShape> {
  private readonly share: number;
  private chunk: Chunk<S> | undefined;
  private plan: readonly ActionRow<S>[] = [];
  private step = 0;
  private executed = 0;

  constructor(aggregate: Aggregate = 'latest') {
    this.share = NEW_SHARE[aggregate];
  }

  /** Actions executed so far: what an observation is marked with when it is made. */
  get mark(): number {
    return this.executed;
  }

  /** Steps left of the first `limit` of the chunk in hand; 0 without one. */
  left(limit: number): number {
    return Math.max(0, Math.min(limit, this.plan.length) - this.step);
  }

  /** Step of the chunk in hand that comes next; undefined when none is left. */
  get next(): number | undefined {
    return this.step < this.plan.length ? this.step : undefined;
  }

  /** Drops what is left. */
  clear(): void {
    this.plan = [];
    this.step = 0;
  }

  /**
   * Takes a chunk in place of what is left of the one before, mixed with it where that is asked for.
   * @param mark of its observation.
   * @returns false when all its steps are past: then nothing changes.
   */
  adopt(chunk: Chunk<S>, mark: number): boolean {
    const past = this.executed - mark;
    if (past >= chunk.rows.length) return false;
    const before = this.plan.slice(this.step);
    this.chunk = chunk;
    this.step = past;
    this.plan = chunk.rows.map((row, i) => {
      const old = i < past ? undefined : before[i - past];
      return old === undefined || this.share === 1 ? row : mix(old, row, this.share);
    });
    return true;
  }

  /** The next action; undefined when none is left. */
  get upcoming(): NextAction<S> | undefined {
    const { chunk, step } = this;
    const row = this.plan[step];
    if (chunk === undefined || row === undefined) return undefined;
    return { chunk, step, row, mixed: row !== chunk.rows[step] };
  }

  /** What is to be executed at every step of the chunk in hand, those that are past as it had them. */
  get rows(): readonly ActionRow<S>[] {
    return this.plan;
  }

  /** The next action, taken as executed; undefined when none is left. */
  take(): NextAction<S> | undefined {
    const next = this.upcoming;
    if (next === undefined) return undefined;
    this.step += 1;
    this.executed += 1;
    return next;
  }
}

function mix<R extends Readonly<Record<string, number>>>(old: R, fresh: R, share: number): R {
  const names = Object.keys(fresh);
  const values = names.map((name) => {
    const before = old[name] ?? NaN;
    return [name, before + ((fresh[name] ?? NaN) - before) * share];
  });
  // Both rows have exactly these names.
  return Object.fromEntries(values) as R;
}
