export { Finetune } from './finetune.ts';
export { FinetuneError } from './finetune-input.ts';
export type {
  FinetuneInput,
  FinetuneMember,
  FinetuneProgress,
  FinishedPolicy,
  MixedFinetuneInput,
} from './finetune-input.ts';
export { chunkErrors, spacedFrames } from './held-out.ts';
export type { HeldOutFrame } from './held-out.ts';
export { resolveOptions } from './options.ts';
export type { ResolvedFinetuneOptions } from './options.ts';
export { signatureOf } from './episodes.ts';
export type { ReasoningLabel, TrainingEpisode } from './episodes.ts';
export { rowsOf, trainGraph } from './graph.ts';
export { adamW, stepScalarInputs } from './optimiser.ts';
export type { TrainGraphOptions } from './graph.ts';
export { TrainSession } from './session.ts';
export type { StepResult, TrainSettings, TrainState } from './session.ts';
export { emaDecay, learningRate } from './schedule.ts';
export { LARGE_MOVES, largeFeatureGraph, largeTrainGraph, largeTrainable } from './large.ts';
export type { LargeMode, LargeTrainOptions } from './large.ts';
