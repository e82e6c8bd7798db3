export { MAX_STEPS, modelParams, serveGraph, serveModel } from './graphs/serve.ts';
export type { ServeGraph, ServeOptions } from './graphs/serve.ts';
export { featureGraph, featureModel } from './graphs/features.ts';
export { nano, summaryWidth, viewSlots } from './config.ts';
export type { DivlaConfig, Signature } from './config.ts';
export { SAMPLER_COLUMNS, alphasCumprod, samplerTable } from './diffusion.ts';
export type { ReasoningTokens } from './reasoning.ts';
