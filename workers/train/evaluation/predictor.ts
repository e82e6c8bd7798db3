import type { Sampler } from '@armature/sdk/contract';

/**
 * One question to the policy: what it does at one frame of an episode, once per seed. The picture
 * is the same for every seed, so an implementation may encode it once.
 */
export interface ChunkQuery {
  readonly episode: number;
  readonly t: number;
  /** Raw units [A]; absent at an episode's first frame and where the policy does not use it. */
  readonly lastCommand?: Float32Array;
  readonly seeds: readonly number[];
  readonly sampler: Sampler;
  /** Every picture replaced by zeros. */
  readonly blank: boolean;
}

/** Answers each query with one chunk [H, A] per seed, absolute and in raw units. */
export type Predict = (queries: readonly ChunkQuery[]) => Promise<readonly Float32Array[][]>;
