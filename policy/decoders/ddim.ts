import { SAMPLER_COLUMNS, samplerTable } from '../divla/diffusion.ts';
import { add, clamp, div, expand, mul, reshape, sub, type Tensor } from '../tensor/index.ts';

/**
 * What a denoising network is trained to say: the noise, the clean sample, or the velocity
 * √ā·noise − √(1−ā)·clean.
 */
export type Prediction = 'epsilon' | 'sample' | 'v_prediction';

export interface DdimOptions {
  readonly steps: number;
  readonly trainSteps: number;
  /** Bound of the predicted clean actions. */
  readonly clip: number;
}

/** The noise in x [B, T, A] at diffusion steps f32 [B]. */
export type NoiseOf = (x: Tensor, t: Tensor) => Tensor;

type Level = number | Tensor;

/** Levels of a step: √ā and √(1−ā) as it finds the sample and as it leaves it. */
export interface DdimLevels {
  readonly root: Level;
  readonly rest: Level;
  readonly rootBefore: Level;
  readonly restBefore: Level;
}

/**
 * Replaces a step's clean actions; the noise is moved against them, so that x stays on its level.
 * What it leaves as it was is sampled as without it, bit for bit.
 * @param root √ā of the step
 * @param found the clean actions before they are clipped, whose gradient clipping does not end
 */
export type CleanChange = (clean: Tensor, x: Tensor, root: Level, found: Tensor) => Tensor;

/**
 * One DDIM step with η = 0 (Song et al. 2021, eq. 12; the clean actions clipped).
 * @param x [B, T, A], as noisy as `levels` says
 * @param predicted [B, T, A], what the network says of x
 */
export function ddimStep(
  x: Tensor,
  predicted: Tensor,
  levels: DdimLevels,
  { clip, prediction }: { readonly clip: number; readonly prediction: Prediction },
  change?: CleanChange,
): Tensor {
  const { root, rest, rootBefore, restBefore } = levels;
  const { found, noise } = parts(x, predicted, levels, prediction);
  const clean = clamp(found, -clip, clip);
  if (change === undefined) return add(mul(clean, rootBefore), mul(noise, restBefore));
  const turned = change(clean, x, root, found);
  const left = sub(noise, mul(sub(turned, clean), ratio(root, rest)));
  return add(mul(turned, rootBefore), mul(left, restBefore));
}

/** The clean sample and the noise that x is made of, by what the network says of it. */
function parts(
  x: Tensor,
  predicted: Tensor,
  { root, rest }: DdimLevels,
  prediction: Prediction,
): { readonly found: Tensor; readonly noise: Tensor } {
  switch (prediction) {
    case 'epsilon':
      return { found: div(sub(x, mul(predicted, rest)), root), noise: predicted };
    case 'sample':
      return { found: predicted, noise: div(sub(x, mul(predicted, root)), rest) };
    case 'v_prediction':
      return {
        found: sub(mul(x, root), mul(predicted, rest)),
        noise: add(mul(x, rest), mul(predicted, root)),
      };
  }
}

function ratio(a: Level, b: Level): Level {
  if (typeof a !== 'number') return div(a, b);
  return typeof b === 'number' ? a / b : div(a, b);
}

/**
 * A sample by DDIM, every step after the other in the graph, of a network that predicts noise.
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
    const levels = { root, rest, rootBefore, restBefore };
    current = ddimStep(current, found, levels, { clip, prediction: 'epsilon' }, change);
    chain.push(current);
  }
  return chain;
}
