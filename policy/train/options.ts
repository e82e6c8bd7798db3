import { keepsFeatures, type FinetuneOptions, type FrozenForm } from '@armature/sdk/contract';
import { TRUNK_LORA, type TrunkLora } from '../lora/trunk.ts';
import type { ParamSpec } from '../nn/params.ts';
import type { Augmentation } from './augment.ts';

/** Options with every default of the preset filled in. */
export interface ResolvedFinetuneOptions {
  readonly mode: FinetuneOptions['mode'];
  readonly steps: number;
  readonly batchSize: number;
  readonly draws: number;
  /** Equal shares of the batch whose gradients add up before the weights move. */
  readonly passes: number;
  /** Most actions that a draw's chunk begins with, given clean (trained real-time chunking); 0 for none. */
  readonly prefixDelayMax: number;
  /** Low-rank pairs that train in the trunk's place (mode `lora`). */
  readonly lora?: TrunkLora;
  /** Rows of a batch that also pass the language model (modes `lora` and `full`). */
  readonly spoken: number;
  readonly learningRate: number;
  readonly warmup: number;
  readonly weightDecay: number;
  readonly emaDecay: number;
  /** Share of the base in the weights that a training trunk starts from, 0 to 1; see `softened`. */
  readonly baseShare: number;
  readonly seed: number;
  readonly images: FinetuneOptions['images'];
  readonly velocity: 'use' | 'ignore';
  /** Share of rows that are trained without a known last command or velocity. */
  readonly commandDropout: number;
  /**
   * Noise on the state as an input: on every joint, in its standard deviations; in units of how far
   * the joint's mean moves from episode to episode; and the share of joints that are hidden. A few
   * dozen demonstrations hold few postures: without this a policy takes them for the episode and
   * fails in one that it has not seen.
   */
  readonly stateNoise: number;
  readonly postureNoise: number;
  readonly stateDropout: number;
  /** How far the loss weighs actions as the held-out error does, 0 to 2; see `actionWeights`. */
  readonly actionWeighting: number;
  /** Share of rows that are trained without reasoning. */
  readonly reasoningDropout: number;
  /** What frozen layers are held in where features of them are computed once; absent: float32. */
  readonly frozenWeights?: Exclude<FrozenForm, 'float32'>;
  /** Weight of the language loss beside the action loss (α). */
  readonly reasoningWeight: number;
  /** Random changes of the pictures, in modes that train on them. */
  readonly augment: Augmentation;
}

/** Where the trunk's eyes are as the base has them, there is nothing to protect them from. */
const undisturbed = {
  spoken: 0,
  weightDecay: 0.01,
  baseShare: 1,
  stateNoise: 0,
  postureNoise: 0,
  stateDropout: 0,
  actionWeighting: 0,
  velocity: 'ignore',
  augment: { shift: 0, light: 0 },
} as const;

const policy = {
  ...undisturbed,
  steps: 1500,
  batchSize: 128,
  draws: 2,
  learningRate: 1e-3,
  emaDecay: 0.995,
} as const;

const byMode = {
  head: {
    ...undisturbed,
    steps: 1000,
    batchSize: 64,
    draws: 1,
    learningRate: 4e-3,
    emaDecay: 0.99,
  },
  policy,
  // Not measured: the schedule of `policy`, and as many rows through the language model as in `full`.
  lora: { ...policy, spoken: 8 },
  full: {
    steps: 1500,
    batchSize: 128,
    draws: 2,
    spoken: 8,
    learningRate: 2e-3,
    weightDecay: 0.3,
    emaDecay: 0.99,
    baseShare: 0.1,
    stateNoise: 0.05,
    postureNoise: 1,
    stateDropout: 0.05,
    actionWeighting: 1,
    velocity: 'use',
    augment: { shift: 3, light: 0.1 },
  },
} as const;

/** Fills the defaults of a mode; `steps` 0 makes a fresh head. */
export function resolveOptions(options: FinetuneOptions): ResolvedFinetuneOptions {
  const preset = byMode[options.mode];
  const steps = options.steps ?? preset.steps;
  const batchSize = options.batch_size ?? preset.batchSize;
  const passes = options.accumulate ?? 1;
  const form = options.frozen_weights;
  return {
    mode: options.mode,
    ...(options.mode === 'lora' ? { lora: TRUNK_LORA } : {}),
    steps,
    batchSize,
    draws: preset.draws,
    passes,
    prefixDelayMax: options.prefix_delay_max ?? 0,
    // As many of each pass.
    spoken: Math.min(Math.ceil(preset.spoken / passes) * passes, batchSize),
    learningRate: options.learning_rate ?? preset.learningRate,
    warmup: Math.min(100, Math.ceil(steps / 10)),
    weightDecay: preset.weightDecay,
    emaDecay: preset.emaDecay,
    baseShare: preset.baseShare,
    seed: options.seed,
    images: options.images,
    velocity: options.velocity ?? preset.velocity,
    commandDropout: 0.15,
    stateNoise: preset.stateNoise,
    postureNoise: preset.postureNoise,
    stateDropout: preset.stateDropout,
    actionWeighting: preset.actionWeighting,
    reasoningDropout: 0.5,
    ...(form === undefined || form === 'float32' ? {} : { frozenWeights: form }),
    reasoningWeight: 0.1,
    augment: {
      ...preset.augment,
      crop: options.random_crop ?? 0,
      colour: options.colour_jitter ?? 0,
    },
  };
}

/** Which parameters move in a mode: data, not code. */
const movesIn: Readonly<Record<FinetuneOptions['mode'], readonly string[]>> = {
  head: ['head.'],
  policy: ['head.', 'trunk.decoder.'],
  lora: ['head.', 'lora.'],
  full: ['head.', 'trunk.'],
};

export function isTrainable(mode: FinetuneOptions['mode'], spec: ParamSpec): boolean {
  return movesIn[mode].some((prefix) => spec.name.startsWith(prefix));
}

/** Modes whose steps see pictures, since what moves lies before the features that others keep. */
export function trainsOnPictures(mode: FinetuneOptions['mode']): boolean {
  return !keepsFeatures(mode);
}
