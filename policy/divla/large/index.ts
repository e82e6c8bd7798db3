/** DiVLA on published backbones: SigLIP or Qwen2-VL's tower, a causal language model, a conditional U-Net. */
export {
  LARGE_DIFFUSION,
  LargeSizeError,
  checkSizes,
  featureSize,
  imageSide,
  promptLength,
  viewsOf,
} from './config.ts';
export type { LargeConfig, LargeSignature, LargeVision, ViewKind } from './config.ts';
export { OWN_SCOPE, viewTokens } from './views.ts';
export { promptOf } from './prompt.ts';
export type { LargePrompt } from './prompt.ts';
export { hear, inject, maskedMean, prefill, speak } from './reasoning.ts';
export type { Heard, Prefilled, Reading, SpokenTokens } from './reasoning.ts';
export { conditionOf } from './head.ts';
export { predictNoise } from './decoder.ts';
export type { Drive } from './decoder.ts';
export { LARGE_MAX_STEPS, sample } from './sampler.ts';
export {
  HEAD_SCOPE,
  LARGE_GRAPHS,
  LORA_SCOPE,
  isBank,
  largeGraph,
  largeInputs,
  largeParams,
} from './graphs.ts';
export type { LargeGraph, LargeInputs, LargeOptions, LargeWeights } from './graphs.ts';
