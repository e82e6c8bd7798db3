import type { AdamWOptions } from '../engine/index.ts';
import {
  add,
  div,
  gemm,
  minimum,
  mul,
  reshape,
  sqrt,
  sub,
  type Graph,
  type Tensor,
} from '../tensor/index.ts';

/** State of the optimiser as flat vectors [P]. */
export interface AdamWState {
  readonly theta: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
  readonly ema: Tensor;
}

/** Scalars that change from step to step, computed outside the graph. */
export interface StepScalars {
  readonly learningRate: Tensor;
  /** 1 / (1 − β₁ᵗ) and 1 / (1 − β₂ᵗ). */
  readonly correction1: Tensor;
  readonly correction2: Tensor;
  readonly emaDecay: Tensor;
}

export function stepScalarInputs(graph: Graph): StepScalars {
  return {
    learningRate: graph.input('learning_rate', 'float32', []),
    correction1: graph.input('correction1', 'float32', []),
    correction2: graph.input('correction2', 'float32', []),
    emaDecay: graph.input('ema_decay', 'float32', []),
  };
}

/**
 * One AdamW step (Loshchilov & Hutter 2019) over flat vectors, after clipping the gradient to a
 * global norm, with an exponential moving average of the weights; for models too large to step in
 * memory of the engine's own (`AdamWState` of its room).
 * @param decay f32 [P], 1 where weight decay applies
 * @returns the next state and the gradient's norm before clipping
 */
export function adamW(
  state: AdamWState,
  gradient: Tensor,
  decay: Tensor,
  scalars: StepScalars,
  options: AdamWOptions,
): AdamWState & { readonly norm: Tensor } {
  const row = [1, gradient.shape[0] ?? 1];
  const squared = gemm(reshape(gradient, row), reshape(gradient, row), { transB: true });
  const norm = sqrt(reshape(squared, []));
  const factor = minimum(div(options.clip, add(norm, 1e-6)), 1);
  // Scalars are multiplied first: every product with a vector is a pass over the whole model.
  const m = add(mul(state.m, options.beta1), mul(gradient, mul(factor, 1 - options.beta1)));
  const root = mul(gradient, mul(factor, Math.sqrt(1 - options.beta2)));
  const v = add(mul(state.v, options.beta2), mul(root, root));
  const spread = sqrt(scalars.correction2);
  const direction = div(m, add(sqrt(v), div(options.eps, spread)));
  const pace = div(mul(scalars.learningRate, scalars.correction1), spread);
  const pull = mul(mul(state.theta, decay), mul(scalars.learningRate, options.weightDecay));
  const theta = sub(sub(state.theta, mul(direction, pace)), pull);
  const ema = add(mul(state.ema, scalars.emaDecay), mul(theta, sub(1, scalars.emaDecay)));
  return { theta, m, v, ema, norm };
}
