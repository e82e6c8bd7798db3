/**
 * Held-out evaluation: pure, no clock, no files; what it needs of the policy is the port in
 * `predictor.ts`.
 */
export { evaluate, FULL_NOISE, type EvaluationInput } from './evaluate.ts';
export { RESAMPLES } from './bootstrap.ts';
export { MOVING_SHARE, movingDimensions, varianceWithin } from './moving.ts';
export { RIDGE } from './ridge.ts';
export { mixSeed } from './random.ts';
export { SAMPLES } from './score.ts';
export type { ChunkShape } from './baselines.ts';
export type { ChunkQuery, Predict } from './predictor.ts';
export type { Moments, RecordedEpisode } from './recorded.ts';
