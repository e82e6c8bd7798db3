import type { EmbodimentSpec, FeatureStats } from '@armature/sdk/contract';
import type { BaseModel, PolicyManifest } from '../checkpoint/index.ts';
import type { Engine } from '../engine/index.ts';
import type { TrainingEpisode } from './episodes.ts';
import type { QuantisedDifference } from './features.ts';
import type { ResolvedFinetuneOptions } from './options.ts';

/** A fine-tune that cannot start or go on; names the field. */
export class FinetuneError extends Error {
  override readonly name = 'FinetuneError';
  readonly field: string;

  constructor(message: string, field: string) {
    super(message);
    this.field = field;
  }
}

/** Something slow before the first step or after the last, which a fine-tune's steps do not tell of. */
export type FinetuneProgress =
  | {
      readonly phase: 'compile' | 'sampler';
      readonly done: number;
      readonly total: number;
    }
  | {
      /** Passes of the frozen parts, a frame each, whose results are kept. */
      readonly phase: 'features';
      readonly done: number;
      readonly total: number;
      /** Passes that the steps to come would take without them: a row each. */
      readonly reads: number;
    }
  | ({
      /** Told once the features of quantised layers are there. */
      readonly phase: 'quantised';
      readonly done: number;
      readonly total: number;
    } & QuantisedDifference);

/** A robot and its demonstrations. */
export interface FinetuneMember {
  /** References as this version has them. */
  readonly spec: EmbodimentSpec;
  /** True statistics of the training set. */
  readonly stats: { readonly state: FeatureStats; readonly action: FeatureStats };
  readonly episodes: readonly TrainingEpisode[];
}

/** What all embodiments of a fine-tune have in common. */
export interface FinetuneCommon {
  readonly engine: Engine;
  readonly base: BaseModel;
  readonly options: ResolvedFinetuneOptions;
  /** A checkpoint of this very job. */
  readonly resume?: Uint8Array;
  readonly onProgress?: (progress: FinetuneProgress) => void;
  readonly signal?: AbortSignal;
}

export interface FinetuneInput extends FinetuneMember, FinetuneCommon {
  /** An earlier version whose weights and normalisation training goes on from. */
  readonly from?: FinishedPolicy;
}

/** Several embodiments with views of one kind and size, which share what moves of the trunk. */
export interface MixedFinetuneInput extends FinetuneCommon {
  /** Each gets a head of its own; every batch has equally many rows of each. */
  readonly members: readonly FinetuneMember[];
}

export interface FinishedPolicy {
  readonly digest: string;
  readonly manifest: PolicyManifest;
  readonly files: Readonly<Record<string, Uint8Array>>;
}
