export { checkChunk, type CheckedChunk } from './chunk-check.ts';
export { chunkLimits, type ChunkLimits } from './chunk-limits.ts';
export { CommandHistory, type LastCommand } from './command-history.ts';
export { deviationOf } from './deviation.ts';
export { departureOf, type Departure } from './departure.ts';
