import type { FinetuneOptions } from '@armature/sdk/contract';
import type { TrainingRates } from './training-rates.ts';

export interface EstimateInput {
  readonly options: FinetuneOptions;
  /** Episodes and frames of the training sets; without those whose report is not there yet. */
  readonly sets: readonly { readonly episodes: number; readonly frames: number }[];
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
  const { options, rates, sets } = input;
  const mode = rates.modes[options.mode];
  const steps = options.steps ?? mode.steps;
  const samples = steps * (options.batch_size ?? mode.batch_size);
  const stepping = samples / (input.measured ?? mode.samples_per_s);
  const sum = (of: (set: EstimateInput['sets'][number]) => number): number =>
    sets.reduce((total, set) => total + of(set), 0);
  const share =
    options.max_episodes === undefined
      ? 1
      : Math.min(
          1,
          options.max_episodes /
            Math.max(
              1,
              sum(({ episodes }) => episodes),
            ),
        );
  const frames = sum((set) => set.frames) * share + input.heldoutFrames;
  const around = rates.prepare_s + frames / rates.decoded_frames_per_s;
  const evaluation = input.heldoutFrames > 0 ? rates.evaluate_s : 0;
  return {
    steps,
    seconds: Math.ceil(around + Math.min(stepping, options.max_seconds ?? Infinity) + evaluation),
    basis: input.measured === null ? 'reference' : 'measured',
  };
}
