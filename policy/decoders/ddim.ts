import { SAMPLER_COLUMNS, samplerTable } from '../divla/diffusion.ts';
import { add, clamp, div, expand, mul, reshape, sub, type Tensor } from '../tensor/index.ts';

export interface DdimOptions {
  readonly steps: number;
  readonly trainSteps: number;
  /** Bound of the predicted clean actions. */
  readonly clip: number;
}

/** The noise in x [B, T, A] at diffusion steps f32 [B]. */
export type NoiseOf = (x: Tensor, t: Tensor) => Tensor;

/**
 * Replaces a step's clean actions; the noise is then recomputed from them, so that x stays on its level.
 * @param root √ā of the step
 */
export type CleanChange = (clean: Tensor, x: Tensor, root: number) => Tensor;

/**
 * A sample by DDIM with η = 0 (Song et al. 2021, eq. 12), every step after the other in the graph.
 * @param x noise [B, T, A]
 * @returns the sample after each step, the last of them clean
 */
export function ddimSample(
  x: Tensor,
  options: DdimOptions,
  noise: NoiseOf,
  change?: CleanChange,
): Tensor[] {
  const { steps, trainSteps, clip } = options;
  const table = samplerTable(steps, trainSteps);
  const batch = x.shape[0] ?? 0;
  const chain: Tensor[] = [];
  let current = x;
  for (let i = 0; i < steps; i += 1) {
    const row = table.subarray(i * SAMPLER_COLUMNS, (i + 1) * SAMPLER_COLUMNS);
    const [t, root, rest, rootBefore, restBefore] = Array.from(row) as [
      number,
      number,
      number,
      number,
      number,
    ];
    const found = noise(current, expand(reshape(x.graph.constant(t), [1]), [batch]));
    const predicted = clamp(div(sub(current, mul(found, rest)), root), -clip, clip);
    const clean = change === undefined ? predicted : change(predicted, current, root);
    const left = change === undefined ? found : div(sub(current, mul(clean, root)), rest);
    current = add(mul(clean, rootBefore), mul(left, restBefore));
    chain.push(current);
  }
  return chain;
}
