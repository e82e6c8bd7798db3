import { setImmediate } from 'node:timers/promises';
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
export async function fitRidge(
  training: readonly RecordedEpisode[],
  shape: ChunkShape,
  state: Moments,
  strength = RIDGE,
): Promise<Baseline> {
  const features = shape.states + 1;
  const inputs = training.map((episode) => designOf(episode, shape, state));
  const steps: Float64Array[] = [];
  const gram = new Float64Array(features * features);
  inputs.forEach((x) => {
    addGram(gram, x, features, 0, x.length / features, 1);
  });
  let frames = training.reduce((sum, { length }) => sum + length, 0);
  for (let h = 0; h < shape.horizon; h++) {
    // The step's own Gram matrix lacks the frames whose step h lies past the end.
    if (h > 0) {
      training.forEach(({ length }, e) => {
        const x = inputs[e];
        if (x === undefined || length < h) return;
        addGram(gram, x, features, length - h, length - h + 1, -1);
        frames -= 1;
      });
    }
    if (frames === 0) throw new RangeError(`no training episode is longer than ${h} frames`);
    const left = gram.slice();
    for (let f = 0; f < shape.states; f++) {
      left[f * features + f] = left[f * features + f]! + strength * frames;
    }
    const weights = new Float64Array(features * shape.actions);
    training.forEach((episode, e) => {
      const x = inputs[e];
      if (x !== undefined) addMoment(weights, x, episode, h, features, shape.actions);
    });
    solvePositiveDefinite(left, weights, features, shape.actions);
    steps.push(weights);
    // A fit takes a tenth of a second on a large set; heartbeats must not wait for all of them.
    await setImmediate();
  }
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

/** Standardised joints and a one for every frame, [T, S + 1]. */
function designOf(episode: RecordedEpisode, shape: ChunkShape, state: Moments): Float64Array {
  const features = shape.states + 1;
  const x = new Float64Array(episode.length * features);
  for (let t = 0; t < episode.length; t++) {
    standardise(episode, t, shape, state, x.subarray(t * features, (t + 1) * features));
  }
  return x;
}

/** Adds `sign` times x·xᵀ of the rows from … until−1 to the lower triangle. */
function addGram(
  gram: Float64Array,
  x: Float64Array,
  features: number,
  from: number,
  until: number,
  sign: 1 | -1,
): void {
  for (let t = from; t < until; t++) {
    const row = t * features;
    for (let i = 0; i < features; i++) {
      const xi = sign * x[row + i]!;
      for (let j = 0; j <= i; j++) {
        gram[i * features + j] = gram[i * features + j]! + xi * x[row + j]!;
      }
    }
  }
}

/** Adds x[t]·action[t + step]ᵀ over the frames of an episode to [S + 1, A]. */
function addMoment(
  moment: Float64Array,
  x: Float64Array,
  episode: RecordedEpisode,
  step: number,
  features: number,
  width: number,
): void {
  for (let t = 0; t + step < episode.length; t++) {
    const target = (t + step) * width;
    for (let i = 0; i < features; i++) {
      const xi = x[t * features + i]!;
      for (let d = 0; d < width; d++) {
        moment[i * width + d] = moment[i * width + d]! + xi * episode.action[target + d]!;
      }
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
