import type { FinetuneOptions } from '@armature/sdk/contract';
import type { TrainingRates } from './training-rates.ts';

export interface EstimateInput {
  readonly options: FinetuneOptions;
  /** Episodes and frames of the training set; null where its report is not there. */
  readonly set: { readonly episodes: number; readonly frames: number } | null;
  /** Frames of the held-out set, 0 without one. */
  readonly heldoutFrames: number;
  /** Samples a second that the tenant's own fine-tunes of this mode reached; none yet is null. */
  readonly measured: number | null;
  readonly rates: TrainingRates;
}

export interface Estimate {
  readonly steps: number;
  readonly seconds: number;
  readonly basis: 'measured' | 'reference';
}

/** Seconds that a worker will be busy with a fine-tune, decoding and evaluation included. */
export function estimateTraining(input: EstimateInput): Estimate {
  const { options, rates, set } = input;
  const mode = rates.modes[options.mode];
  const steps = options.steps ?? mode.steps;
  const samples = steps * (options.batch_size ?? mode.batch_size);
  const stepping = samples / (input.measured ?? mode.samples_per_s);
  const share =
    set === null || options.max_episodes === undefined
      ? 1
      : Math.min(1, options.max_episodes / Math.max(1, set.episodes));
  const frames = (set?.frames ?? 0) * share + input.heldoutFrames;
  const around = rates.prepare_s + frames / rates.decoded_frames_per_s;
  const evaluation = input.heldoutFrames > 0 ? rates.evaluate_s : 0;
  return {
    steps,
    seconds: Math.ceil(around + Math.min(stepping, options.max_seconds ?? Infinity) + evaluation),
    basis: input.measured === null ? 'reference' : 'measured',
  };
}
