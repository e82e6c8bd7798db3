/** Real-time chunking. */
export { guidanceWeight, prefixMask, prefixWeights } from './prefix.ts';
export type { PrefixSchedule } from './prefix.ts';
export { withPrefix } from './held.ts';
export type { HeldPrefix } from './held.ts';
export { flowSample, guidedVelocity, paddedChunk } from './flow.ts';
export type { FlowGuide, FlowOptions, GuidedVelocity, Velocity } from './flow.ts';
export { pulledBack, towardsPrevious } from './ddim.ts';
export type { Correction, DdimGuide } from './ddim.ts';
