import type { PolicyManifest } from '../checkpoint/index.ts';
import type { EarlierState } from '../data/index.ts';
import type { Correction, PrefixSchedule } from '../rtc/index.ts';

/** A policy that is loaded: where its weights lie in the engine. */
export interface PolicyHandle {
  readonly digest: string;
  readonly manifest: PolicyManifest;
  /** Slot of its head in the bank. */
  readonly slot: number;
  /** Resident key of its trunk; policies of the same trunk share a batch. */
  readonly trunk: string;
  /** State joint of each action dimension, -1 for none. */
  readonly joints: readonly number[];
  /** Names of its external and wrist cameras, in order of their view slots. */
  readonly cameras: { readonly external: readonly string[]; readonly wrist: readonly string[] };
  readonly usesCommand: boolean;
}

/** A reasoning that drives chunks: its words and what is injected of it. */
export interface Reasoning {
  readonly text: string;
  readonly tokens: number;
  /** f32 [D]. */
  readonly embedding: Float32Array;
}

/** The chunk that a new one goes on from. */
export interface PreviousChunk {
  /** f32 [n·A], absolute, raw units: what is left of it, from the action of the observation's own time. */
  readonly actions: Float32Array;
  /** Of these so many will have been executed when the new chunk arrives. */
  readonly delay: number;
  /**
   * How the hold on the rest lets go. `trained`: the actions of the delay are given and the rest is
   * free, for versions that were trained so; a delay beyond theirs is guided by `exp`.
   */
  readonly schedule: PrefixSchedule | 'trained';
  /**
   * How the hold reaches the sample: `direct` unless told; `pulled-back` is for runtimes that have graphs
   * for it. What is given by `trained` is not corrected.
   */
  readonly correction?: Correction;
}

/** One robot's question. */
export interface ActRow {
  readonly policy: PolicyHandle;
  /** Pre-processed pictures by camera name, u8 [height, width, 3]. */
  readonly images: Readonly<Record<string, Uint8Array>>;
  readonly instruction: string;
  /** f32 [S], raw units. */
  readonly state: Float32Array;
  /** f32 [A], raw units: the command in force. */
  readonly lastCommand?: Float32Array;
  /** What tells how fast the robot moves, for versions that read velocities. */
  readonly earlier?: EarlierState;
  /** Seed of the starting noise. */
  readonly seed: number;
  readonly sampler?: { readonly steps: number; readonly noise_scale: number };
  readonly reasoning?: Reasoning;
  /** Real-time chunking: the new chunk goes on from this one; without it the sample is free. */
  readonly previous?: PreviousChunk;
}

export interface ActResult {
  /** f32 [H·A], absolute, raw units. */
  readonly actions: Float32Array;
  readonly reasoning?: Reasoning;
}
