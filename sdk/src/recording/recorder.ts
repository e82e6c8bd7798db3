import type { Chunk } from '../robot/chunk.ts';
import type { ActionRow, EmbodimentShape } from '../robot/embodiment.ts';
import { vector, type Observation, type Picture } from '../robot/observation.ts';

/** One executed action, and what the robot saw and felt when it was executed. */
export interface RecordedStep {
  /** ms since the Unix epoch. */
  readonly at: number;
  readonly tick: number;
  readonly pictures: Readonly<Record<string, Picture>>;
  /** f32 [S]. */
  readonly state: Float32Array;
  /** f32 [A]: the command that was executed. */
  readonly action: Float32Array;
  /** The task in force; empty where none was given. */
  readonly instruction: string;
  readonly chunkId: string;
  /** Step of the chunk, from 0. */
  readonly step: number;
  readonly reasoning: Chunk<EmbodimentShape>['reasoning'];
}

/** What the control loop hands over. */
export interface ExecutedAction<S extends EmbodimentShape> {
  readonly observation: Observation<S>;
  readonly action: ActionRow<S> | Float32Array;
  readonly chunk: Chunk<S>;
  readonly step: number;
  readonly tick: number;
}

/** Ten minutes at 50 Hz: pictures stay in memory until they are written. */
const MAX_STEPS = 30_000;

/** Keeps what a robot executes, for `session.run({record})`; pictures are kept as they were given. */
export class SessionRecorder<S extends EmbodimentShape> {
  readonly embodiment: S;
  private readonly kept: RecordedStep[] = [];
  private readonly maxSteps: number;
  private readonly now: () => number;
  private instruction = '';
  private missed = 0;

  /** @param options.now ms since the Unix epoch; the system's clock unless told. */
  constructor(
    embodiment: S,
    options: { readonly maxSteps?: number; readonly now?: () => number } = {},
  ) {
    this.embodiment = embodiment;
    this.maxSteps = options.maxSteps ?? MAX_STEPS;
    this.now = options.now ?? Date.now;
  }

  get steps(): readonly RecordedStep[] {
    return this.kept;
  }

  /** Actions that found the recording full. */
  get lost(): number {
    return this.missed;
  }

  add({ observation, action, chunk, step, tick }: ExecutedAction<S>): void {
    this.instruction = observation.instruction ?? this.instruction;
    if (this.kept.length >= this.maxSteps) {
      this.missed += 1;
      return;
    }
    const { state, action: joints } = this.embodiment;
    this.kept.push({
      at: this.now(),
      tick,
      pictures: { ...observation.images },
      state: Float32Array.from(vector(state, observation.state, 'state', 'invalid_state')),
      action: Float32Array.from(vector(joints, action, 'action', 'invalid_action')),
      instruction: this.instruction,
      chunkId: chunk.chunkId,
      step,
      reasoning: chunk.reasoning,
    });
  }
}
