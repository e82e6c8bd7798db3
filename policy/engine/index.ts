/** ONNX Runtime sessions in worker threads. The only room that imports onnxruntime-node. */
export type { AdamWOptions } from './adamw.ts';
export { Engine } from './engine.ts';
export type { EngineOptions } from './engine.ts';
export { EngineError } from './errors.ts';
export type { EngineErrorCode } from './errors.ts';
export type {
  EngineStats,
  ExecutionProvider,
  LoadOptions,
  RunOptions,
  SessionStats,
  StepOptions,
} from './protocol.ts';
export { stepBack } from './step-back.ts';
export type { Value, Values } from './value.ts';
