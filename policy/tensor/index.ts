/**
 * Tensor graphs with static shapes, reverse-mode differentiation inside the graph, and ONNX output.
 * Pure: nothing here runs a graph.
 */
export { Graph } from './graph.ts';
export type { Attribute, Node, OutputSpec, Tensor } from './graph.ts';
export type { DType, TensorData } from './dtype.ts';
export { elementBytes, isFloat } from './dtype.ts';
export { fromBfloat, fromHalf, toBfloat, toHalf } from './half.ts';
export { GradientError, ShapeError } from './errors.ts';
export { peakBytes } from './peak-bytes.ts';
export { sizeOf } from './shapes.ts';
export type { Operand } from './emit.ts';
export { expand, filled, reduceSum, reshape } from './broadcast.ts';
export { add, div, mul, sub } from './elementwise.ts';
export {
  abs,
  cos,
  erf,
  exp,
  log,
  neg,
  pow,
  reciprocal,
  rsqrt,
  sigmoid,
  sin,
  softplus,
  sqrt,
  tanh,
} from './unary.ts';
export { gelu, mish, quickGelu, relu, silu } from './activations.ts';
export {
  and,
  cast,
  clamp,
  equal,
  greater,
  greaterOrEqual,
  less,
  lessOrEqual,
  maximum,
  minimum,
  not,
  or,
  stopGradient,
  where,
  zerosLike,
} from './logic.ts';
export { concat, pad, slice, split, transpose, upsampleNearest } from './shape.ts';
export { argmax, logSoftmax, reduceMax, reduceMean, softmax } from './reduce.ts';
export { gemm, linear, matmul, rowLinear, sumRows, swap } from './linalg.ts';
export type { GemmOptions, LinearOptions } from './linalg.ts';
export { gather, gatherElements, indexSelect, oneHot, scatterAdd } from './gather.ts';
export { groupNorm, layerNorm, rmsNorm } from './norm.ts';
export type { Affine, GroupNormOptions, NormOptions } from './norm.ts';
export { windows } from './windows.ts';
export { conv1d, convTranspose1d } from './conv1d.ts';
export type { Conv1dOptions, ConvTranspose1dOptions } from './conv1d.ts';
export { conv2d } from './conv2d.ts';
export type { Conv2dOptions } from './conv2d.ts';
export { attention, attentionBias, causalBias } from './attention.ts';
export type { AttentionOptions } from './attention.ts';
export {
  mrope,
  multimodalRotation,
  rope,
  rotate,
  rotation,
  rotationOf,
  timestepEmbedding,
} from './position.ts';
export type { Rotation } from './position.ts';
export {
  blockLinear,
  blockValues,
  int8Linear,
  quantizeBlocks,
  quantizeColumns,
} from './quantized.ts';
export type { BlockLayout, BlockWeights, ColumnWeights } from './quantized.ts';
export { crossEntropy, maskedMse, mse } from './loss.ts';
export type { CrossEntropyOptions } from './loss.ts';
export { loop } from './loop.ts';
export type { LoopOptions, LoopResult, LoopStep } from './loop.ts';
export { gradients } from './autodiff.ts';
export type { Seed } from './autodiff.ts';
export { toOnnx } from './onnx-writer.ts';
export type { ExternalData, OnnxOptions } from './onnx-writer.ts';
