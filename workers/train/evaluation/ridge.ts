import type { Baseline, ChunkShape } from './baselines.ts';
import { solvePositiveDefinite } from './cholesky.ts';
import { type Moments, type RecordedEpisode } from './recorded.ts';

/**
 * Strength of the penalty on the standardised weights: they minimise mean squared error +
 * RIDGE·|weights|². It costs a joint that stands alone a hundredth of its weight and keeps the system
 * solvable where joints move together.
 */
export const RIDGE = 1e-2;

/**
 * Ridge regression from the state to the whole chunk, fitted in closed form on the training
 * episodes: standardised joints and an intercept, which is not penalised, to each step's actions.
 * Frames whose step lies past the episode's end do not take part in that step's fit.
 *
 * @throws RangeError if no training episode reaches the chunk's last step.
 */
export function fitRidge(
  training: readonly RecordedEpisode[],
  shape: ChunkShape,
  state: Moments,
  strength = RIDGE,
): Baseline {
  const features = shape.states + 1;
  const steps = Array.from({ length: shape.horizon }, (_, h) =>
    fitStep(training, shape, state, h, strength),
  );
  return (episode, t, into) => {
    const x = new Float64Array(features);
    standardise(episode, t, shape, state, x);
    steps.forEach((weights, h) => {
      for (let d = 0; d < shape.actions; d++) {
        let sum = 0;
        for (let f = 0; f < features; f++) sum += x[f]! * weights[f * shape.actions + d]!;
        into[h * shape.actions + d] = sum;
      }
    });
  };
}

/** Weights [S + 1, A] of one step of the chunk; the intercept is the last row. */
function fitStep(
  training: readonly RecordedEpisode[],
  shape: ChunkShape,
  state: Moments,
  step: number,
  strength: number,
): Float64Array {
  const features = shape.states + 1;
  const width = shape.actions;
  const gram = new Float64Array(features * features);
  const moment = new Float64Array(features * width);
  const x = new Float64Array(features);
  let frames = 0;
  for (const episode of training) {
    for (let t = 0; t + step < episode.length; t++) {
      standardise(episode, t, shape, state, x);
      const target = episode.action.subarray((t + step) * width, (t + step + 1) * width);
      accumulate(gram, moment, x, target);
      frames += 1;
    }
  }
  if (frames === 0) {
    throw new RangeError(`no training episode is longer than ${step} frames`);
  }
  for (let f = 0; f < shape.states; f++) {
    gram[f * features + f] = gram[f * features + f]! + strength * frames;
  }
  solvePositiveDefinite(gram, moment, features, width);
  return moment;
}

/** Adds x·xᵀ (lower triangle) and x·targetᵀ. */
function accumulate(
  gram: Float64Array,
  moment: Float64Array,
  x: Float64Array,
  target: Float32Array,
): void {
  const features = x.length;
  const width = target.length;
  for (let i = 0; i < features; i++) {
    const xi = x[i]!;
    for (let j = 0; j <= i; j++) {
      gram[i * features + j] = gram[i * features + j]! + xi * x[j]!;
    }
    for (let d = 0; d < width; d++) {
      moment[i * width + d] = moment[i * width + d]! + xi * target[d]!;
    }
  }
}

/** Standardised joints and a one for the intercept; a joint that never moves counts as zero. */
function standardise(
  episode: RecordedEpisode,
  t: number,
  shape: ChunkShape,
  state: Moments,
  into: Float64Array,
): void {
  for (let f = 0; f < shape.states; f++) {
    const std = state.std[f]!;
    const centred = episode.state[t * shape.states + f]! - state.mean[f]!;
    into[f] = std > 0 ? centred / std : 0;
  }
  into[shape.states] = 1;
}
