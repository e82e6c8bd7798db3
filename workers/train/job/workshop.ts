import type {
  EmbodimentSpec,
  FeatureStats,
  FinetuneOptions,
  Provenance,
} from '@armature/sdk/contract';
import type { Label } from '@armature/datasets';
import type { Predict, RecordedEpisode } from '../evaluation/index.ts';
import type { Steppable } from './training-loop.ts';

/** One demonstration as training and evaluation read it. */
export interface Demonstration extends RecordedEpisode {
  readonly instruction: string;
  readonly labels: readonly Label[];
  /** Pre-processed picture at frame `t`, u8 [h, w, 3]. */
  image(camera: string, t: number): Uint8Array;
}

/** A policy version as bytes. */
export interface VersionBytes {
  /** sha256 of the manifest's bytes, in hexadecimal. */
  readonly digest: string;
  readonly manifestBytes: Uint8Array;
  /** Weights by file name. */
  readonly files: Readonly<Record<string, Uint8Array>>;
}

/** A trained policy version, not yet stored. */
export interface TrainedVersion extends VersionBytes {
  readonly manifest: {
    readonly mode: FinetuneOptions['mode'];
    readonly sampler: { readonly steps: number; readonly noise_scale: number };
    readonly prefix_delay_max?: number | undefined;
    readonly preprocess_hash: string;
    readonly stats_hash: string;
    /** True statistics of the training set. */
    readonly stats: { readonly state: FeatureStats; readonly action: FeatureStats };
  };
}

export interface Trainer extends Steppable {
  /** Chooses the sampler on episodes set aside and packs the weights. */
  finish(): Promise<TrainedVersion>;
  close(): Promise<void>;
}

/** A checkpoint that this trainer cannot go on from: of another base, or other options. */
export class ResumeRefused extends Error {
  override readonly name = 'ResumeRefused';
}

/** Something slow that goes on before the first step or after the last. */
export type TrainerProgress =
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
  | {
      /** Frozen layers are held in few bits: how far that is from float32, error over size, root mean square. */
      readonly phase: 'quantised';
      readonly done: number;
      readonly total: number;
      readonly form: string;
      readonly weights: number;
      /** Of what views show, and of the reasoning that is injected. */
      readonly views: number;
      readonly reasoning: number;
    };

/** The policy as a training job uses it; one workshop a job. */
export interface Workshop {
  /** Names the pre-processing; pictures cached under another name are not its. */
  readonly preprocessHash: string;
  /** Module that exports `preprocessImage`, for the decoding threads. */
  readonly preprocessModule: URL;
  imageSize(spec: EmbodimentSpec): { readonly width: number; readonly height: number };
  /** @throws ResumeRefused if `resume` is not a checkpoint of this very job and base. */
  train(o: {
    readonly spec: EmbodimentSpec;
    readonly episodes: readonly Demonstration[];
    readonly options: FinetuneOptions;
    /** A version to go on from in place of the base and a fresh head. */
    readonly from: VersionBytes | null;
    readonly resume: Uint8Array | null;
    readonly onProgress: (progress: TrainerProgress) => void;
    readonly signal: AbortSignal;
  }): Promise<Trainer>;
  /** The version with what the platform knows of how it was made in its manifest. */
  sealed(version: TrainedVersion, provenance: Provenance): TrainedVersion;
  /** The version as it would be served, asked about held-out episodes. */
  predictor(o: {
    readonly version: TrainedVersion;
    readonly episodes: readonly Demonstration[];
  }): Promise<{ readonly predict: Predict; close(): Promise<void> }>;
  close(): Promise<void>;
}
