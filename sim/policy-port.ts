import { at } from './at.ts';
import { horizon } from './embodiments.ts';

/** What a policy is shown before each chunk. */
export interface Observation {
  /** One picture a camera, u8 [64, 64, 3]. */
  readonly images: Record<string, Uint8Array>;
  /** f32 [dimension], raw. */
  readonly state: Float32Array;
  /** The last chunk and how many of its steps were executed; absent before the first. */
  readonly executed?: { readonly chunk_id: string; readonly steps: number };
  /** The command now in force, f32 [dimension]; absent before the first. */
  readonly lastCommand?: Float32Array;
}

export interface Chunk {
  /** Absolute targets, f32 [16, dimension]. */
  readonly actions: Float32Array;
  readonly chunkId?: string;
  readonly reasoning?: string;
}

export interface PolicySession {
  act(observation: Observation): Promise<Chunk>;
  close(): Promise<void>;
}

/** Opens one session an episode, e.g. with a served policy. */
export type PolicyPort = (o: { instruction: string; episode: number }) => Promise<PolicySession>;

/** A policy gave something that is not a chunk of this embodiment. */
export class PolicyOutputError extends Error {
  override readonly name = 'PolicyOutputError';
}

/** Throws PolicyOutputError unless the chunk is [16, width] of finite numbers. */
export function checkChunk(chunk: Chunk, width: number): void {
  const { actions } = chunk;
  if (actions.length !== horizon * width) {
    throw new PolicyOutputError(
      `a chunk has ${horizon} × ${width} values, the policy gave ${actions.length}`,
    );
  }
  for (let i = 0; i < actions.length; i++) {
    if (!Number.isFinite(at(actions, i))) {
      throw new PolicyOutputError(
        `action ${i % width} of step ${Math.floor(i / width)} is ${at(actions, i)}`,
      );
    }
  }
}
