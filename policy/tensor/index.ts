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
export { gemm, linear, matmul, rowLinear, swap } from './linalg.ts';
export type { GemmOptions, LinearOptions } from './linalg.ts';
export { gather, gatherElements, indexSelect, oneHot, scatterAdd } from './gather.ts';
export { gradients } from './autodiff.ts';
export type { Seed } from './autodiff.ts';
export { toOnnx } from './onnx-writer.ts';
export type { OnnxOptions } from './onnx-writer.ts';
