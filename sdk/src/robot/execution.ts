import { Ndarray } from '../../contract/index.ts';
import type { Chunk } from './chunk.ts';
import type { EmbodimentShape } from './embodiment.ts';
import type { Executed } from './observation.ts';

interface Reached {
  readonly chunkId: string;
  readonly epoch: number;
  /** Step reached in the chunk: the step before it is the command in force. */
  readonly steps: number;
  /** f32 [A]: the command in force. */
  readonly command: Float32Array;
  /** The robot's own filters changed it. */
  readonly changed: boolean;
}

/** What the robot executed last, for the next observation to report. */
export class ExecutionReport {
  private last: Reached | undefined;

  /**
   * @param steps step reached in the chunk, 1 to H, skipped ones included.
   * @param command f32 [A] where the robot's own filters changed the command.
   */
  reached(chunk: Chunk<EmbodimentShape>, steps: number, command?: Float32Array): void {
    const width = chunk.actions.length / chunk.rows.length;
    this.last = {
      chunkId: chunk.chunkId,
      epoch: chunk.epoch,
      steps,
      command: command ?? chunk.actions.subarray((steps - 1) * width, steps * width),
      changed: command !== undefined,
    };
  }

  /** As an observation reports it to a worker that knows the chunks of these epochs. */
  forWorker(knows: (epoch: number) => boolean): Executed | undefined {
    if (this.last === undefined) return undefined;
    const { chunkId, steps, command, changed } = this.last;
    const tell = changed || !knows(this.last.epoch);
    return {
      chunk_id: chunkId,
      steps,
      ...(tell ? { last_command: Ndarray.float32(Float32Array.from(command)) } : {}),
    };
  }
}
