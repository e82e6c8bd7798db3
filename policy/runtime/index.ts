export { PolicyError } from './errors.ts';
export type { PolicyErrorCode } from './errors.ts';
export type { ActResult, ActRow, PolicyHandle, PreviousChunk, Reasoning } from './handle.ts';
export { emitGraph } from './graph.ts';
export type { BuiltGraph, EmittedGraph, GraphBase, GraphRequest, GraphSource } from './graph.ts';
export { PolicyRuntime } from './runtime.ts';
export type { RuntimeOptions } from './runtime.ts';
