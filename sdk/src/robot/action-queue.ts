import type { Chunk } from './chunk.ts';
import type { ActionRow, EmbodimentShape } from './embodiment.ts';

/** The action of one control tick. */
export interface NextAction<S extends EmbodimentShape> {
  readonly chunk: Chunk<S>;
  /** Step within the chunk, from 0. */
  readonly step: number;
  readonly row: ActionRow<S>;
}

/**
 * The steps that are still to be executed, and how far the robot has come. Step 0 of a chunk belongs
 * to the moment of its observation: as many of its steps are past as actions were executed since
 * then, whatever the clock says, so a robot that stood still loses none.
 */
export class ActionQueue<S extends EmbodimentShape> {
  private chunk: Chunk<S> | undefined;
  private step = 0;
  private executed = 0;

  /** Actions executed so far: what an observation is marked with when it is made. */
  get mark(): number {
    return this.executed;
  }

  /** Steps left of the first `limit` of the chunk in hand; 0 without one. */
  left(limit: number): number {
    if (this.chunk === undefined) return 0;
    return Math.max(0, Math.min(limit, this.chunk.rows.length) - this.step);
  }

  /**
   * Takes a chunk in place of what is left of the one before.
   * @param mark of its observation.
   * @returns false when all its steps are past: then nothing changes.
   */
  adopt(chunk: Chunk<S>, mark: number): boolean {
    const past = this.executed - mark;
    if (past >= chunk.rows.length) return false;
    this.chunk = chunk;
    this.step = past;
    return true;
  }

  /** The next action, taken as executed; undefined when none is left. */
  take(): NextAction<S> | undefined {
    const { chunk, step } = this;
    const row = chunk?.rows[step];
    if (chunk === undefined || row === undefined) return undefined;
    this.step += 1;
    this.executed += 1;
    return { chunk, step, row };
  }
}
