import { ArmatureError, type WireObservation } from '@armature/sdk/contract';

/** The command in force when an observation was made, and the one a control period before it. */
export interface LastCommand {
  readonly last: Float32Array | undefined;
  readonly before: Float32Array | undefined;
}

const NOTHING: LastCommand = { last: undefined, before: undefined };

/** Chunks that a session may still report on. */
const REMEMBERED = 32;

/** The chunks that a session was sent lately, and the command that follows from what it executed. */
export class CommandHistory {
  private readonly session: string;
  private inEpoch: number;
  private readonly width: number;
  private readonly chunks = new Map<string, Float32Array>();
  private current: LastCommand = NOTHING;

  /** @param width action dimension A. */
  constructor(session: string, epoch: number, width: number) {
    this.session = session;
    this.inEpoch = epoch;
    this.width = width;
  }

  /** The epoch that chunks are made in. */
  get epoch(): number {
    return this.inEpoch;
  }

  /** The session goes on in a later epoch on the same connection; what was sent stays known. */
  advance(epoch: number): void {
    this.inEpoch = epoch;
  }

  chunkId(seq: number): string {
    return `${this.session}:${this.epoch}:${seq}`;
  }

  /** The command in force as far as it is known. */
  get command(): LastCommand {
    return this.current;
  }

  /** Goes on from the commands of another worker. */
  restore(command: LastCommand): void {
    this.current = command;
  }

  /** @param actions f32 [H, A] as they were sent. */
  remember(chunkId: string, actions: Float32Array): void {
    this.chunks.set(chunkId, actions);
    const oldest = this.chunks.keys().next();
    if (this.chunks.size > REMEMBERED && oldest.done !== true) this.chunks.delete(oldest.value);
  }

  /**
   * The last command after what the robot says it has executed: its own where it gives one, else the
   * step that it has reached in that chunk, else the one known before. Chunks of an earlier epoch are
   * not known here, and then no command is.
   * @throws ArmatureError `invalid_observation` for a chunk or a step that was never sent.
   */
  resolve(executed: WireObservation['executed']): LastCommand {
    if (executed !== undefined) this.current = this.after(executed);
    return this.current;
  }

  /** f32 [A], the step that the robot reached last, as its chunk has it; undefined where it is not known. */
  reached(executed: WireObservation['executed']): Float32Array | undefined {
    const actions = executed === undefined ? undefined : this.chunks.get(executed.chunk_id);
    if (actions === undefined || executed === undefined || executed.steps < 1) return undefined;
    const step = this.row(actions, executed.steps - 1);
    return step.length === this.width ? step : undefined;
  }

  /**
   * What is left of the chunk that the robot is executing, f32 [n·A] from the action of now on;
   * undefined where nothing is known or left of it.
   */
  remaining(executed: WireObservation['executed']): Float32Array | undefined {
    if (executed === undefined) return undefined;
    const left = this.chunks.get(executed.chunk_id)?.subarray(executed.steps * this.width);
    return left === undefined || left.length === 0 ? undefined : left;
  }

  private after(executed: NonNullable<WireObservation['executed']>): LastCommand {
    const { chunk_id: id, steps } = executed;
    const actions = this.chunks.get(id);
    const horizon = actions === undefined ? undefined : actions.length / this.width;
    if (horizon !== undefined && steps > horizon) {
      throw new ArmatureError(
        'invalid_observation',
        `${steps} steps of ${id} were executed, it has ${horizon}`,
        { field: 'executed.steps', fix: `Report 0 to ${horizon} steps.` },
      );
    }
    if (executed.last_command !== undefined) {
      return { last: executed.last_command.toFloat32(), before: undefined };
    }
    if (actions === undefined) {
      if (this.isOfEarlierEpoch(id)) return NOTHING;
      throw new ArmatureError('invalid_observation', `${id} is no chunk of this session`, {
        field: 'executed.chunk_id',
        fix: 'Report the last chunk that this session sent, or give executed.last_command.',
      });
    }
    if (steps === 0) return this.current;
    const last = this.row(actions, steps - 1);
    return { last, before: steps > 1 ? this.row(actions, steps - 2) : undefined };
  }

  private isOfEarlierEpoch(id: string): boolean {
    const own = `${this.session}:`;
    return id.startsWith(own) && Number.parseInt(id.slice(own.length), 10) < this.epoch;
  }

  private row(actions: Float32Array, step: number): Float32Array {
    return actions.subarray(step * this.width, (step + 1) * this.width);
  }
}
