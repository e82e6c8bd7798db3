import { z } from 'zod';
import type { EmbodimentSpec, Reference } from '@armature/sdk/contract';

/**
 * How raw states and actions become the model's numbers, dimension by dimension. Absolute actions:
 * min/max of the training set, widened by 1e-4, to [-1, 1]. Relative actions: the difference to the
 * reference over the 99.5 % quantile of its size. States: z-score. All figures are the training
 * set's; they travel with the policy version under a hash.
 */
export const normalisationSchema = z.object({
  state: z.object({ mean: z.array(z.number()), std: z.array(z.number()) }),
  /** Scale of the command relative to the state, as an input. */
  command: z.array(z.number()),
  /**
   * Scale of each state joint's velocity as an input, raw units a control period; absent where the
   * policy reads none.
   */
  velocity: z.array(z.number().positive()).optional(),
  action: z.array(
    z.object({
      reference: z.enum(['absolute', 'state', 'last_command']),
      /** Index of the state joint that this action is relative to; -1 for absolute. */
      joint: z.number().int(),
      centre: z.number(),
      scale: z.number(),
      /** Scale where the last command is not known and the state stands in for it. */
      scale_without_command: z.number(),
    }),
  ),
});
export type Normalisation = z.infer<typeof normalisationSchema>;

/** A recorded episode, as far as numbers go: state f32 [T·S] and action f32 [T·A], row by row. */
export interface Motion {
  readonly length: number;
  readonly state: Float32Array;
  readonly action: Float32Array;
}

const MIN_STATE_STD = 1e-2;
/** Standard deviations beyond which a state looks alike to the model: it has seen none there. */
export const FARTHEST_STATE = 3;
const WIDEN = 1e-4;
const QUANTILE = 0.995;
/** Start frames looked at for the quantiles, at most. */
const MAX_STARTS = 6000;

/** State joint of each action dimension by name; -1 where the state has none. */
export function stateJoints(spec: EmbodimentSpec): number[] {
  const index = new Map(spec.state.map((joint, i) => [joint.name, i] as const));
  return spec.action.map((joint) => index.get(joint.name) ?? -1);
}

/** @throws RangeError when there is no frame to learn the figures from. */
export function fitNormalisation(spec: EmbodimentSpec, episodes: readonly Motion[]): Normalisation {
  const frames = episodes.reduce((sum, episode) => sum + episode.length, 0);
  if (frames === 0) throw new RangeError('normalisation needs at least one frame');
  const joints = stateJoints(spec);
  return {
    state: zScore(episodes, spec.state.length),
    command: joints.map((joint, a) =>
      joint < 0 ? 1 : spread(spec, episodes, a, joint, 'current', MIN_STATE_STD),
    ),
    action: spec.action.map((action, a) => {
      const reference = spec.references[action.group] as Reference;
      const joint = joints[a] as number;
      if (reference === 'absolute') return absolute(spec, episodes, a);
      const fromState = spread(spec, episodes, a, joint, 'state', 1e-4);
      const scale =
        reference === 'state' ? fromState : spread(spec, episodes, a, joint, 'last_command', 1e-4);
      return { reference, joint, centre: 0, scale, scale_without_command: fromState };
    }),
  };
}

function zScore(episodes: readonly Motion[], dims: number): Normalisation['state'] {
  const mean = new Array<number>(dims).fill(0);
  const square = new Array<number>(dims).fill(0);
  let frames = 0;
  for (const { state, length } of episodes) {
    frames += length;
    for (let i = 0; i < length * dims; i++) {
      const value = state[i] as number;
      mean[i % dims] = (mean[i % dims] as number) + value;
      square[i % dims] = (square[i % dims] as number) + value * value;
    }
  }
  const average = mean.map((sum) => sum / frames);
  const std = square.map((sum, d) =>
    Math.max(MIN_STATE_STD, Math.sqrt(Math.max(0, sum / frames - (average[d] as number) ** 2))),
  );
  return { mean: average, std };
}

function absolute(
  spec: EmbodimentSpec,
  episodes: readonly Motion[],
  a: number,
): Normalisation['action'][number] {
  const dims = spec.action.length;
  let min = Infinity;
  let max = -Infinity;
  for (const { action, length } of episodes) {
    for (let t = 0; t < length; t++) {
      const value = action[t * dims + a] as number;
      min = Math.min(min, value);
      max = Math.max(max, value);
    }
  }
  const scale = (max - min) / 2 + WIDEN;
  return {
    reference: 'absolute',
    joint: -1,
    centre: (max + min) / 2,
    scale,
    scale_without_command: scale,
  };
}

/**
 * 99.5 % quantile of |action − reference| over the chunk (or over the current step alone), with a
 * floor of `least` times the range of the joint, so that a still joint does not explode.
 */
function spread(
  spec: EmbodimentSpec,
  episodes: readonly Motion[],
  a: number,
  joint: number,
  from: 'state' | 'last_command' | 'current',
  least: number,
): number {
  const frames = episodes.reduce((sum, episode) => sum + episode.length, 0);
  const stride = Math.max(1, Math.floor(frames / MAX_STARTS));
  const [actions, states] = [spec.action.length, spec.state.length];
  const sizes: number[] = [];
  for (const { state, action, length } of episodes) {
    for (let t = 0; t < length; t += stride) {
      const reference =
        from === 'last_command' && t > 0
          ? (action[(t - 1) * actions + a] as number)
          : (state[t * states + joint] as number);
      const last = from === 'current' ? t + 1 : Math.min(length, t + spec.horizon);
      for (let k = t; k < last; k++) {
        sizes.push(Math.abs((action[k * actions + a] as number) - reference));
      }
    }
  }
  const sorted = Float64Array.from(sizes).sort();
  const limits = spec.action[a];
  const floor = limits === undefined ? least : (limits.max - limits.min) * least;
  return Math.max(floor, sorted[Math.floor((sorted.length - 1) * QUANTILE)] ?? floor);
}

/** A normalised state value within what the model is shown, [-3, 3]. */
export function boundState(z: number): number {
  return Math.max(-FARTHEST_STATE, Math.min(FARTHEST_STATE, z));
}

/** Raw state [S] → f32 [dims] in [-3, 3], padded with zeros. */
export function encodeState(n: Normalisation, state: Float32Array, dims: number): Float32Array {
  const out = new Float32Array(dims);
  n.state.mean.forEach((mean, i) => {
    out[i] = boundState(((state[i] as number) - mean) / (n.state.std[i] as number));
  });
  return out;
}

/** Raw last command [A] → f32 [dims] relative to the state where a joint of that name exists. */
export function encodeCommand(
  n: Normalisation,
  command: Float32Array,
  state: Float32Array,
  joints: readonly number[],
  dims: number,
): Float32Array {
  const out = new Float32Array(dims);
  n.action.forEach((action, a) => {
    const joint = joints[a] as number;
    const value = command[a] as number;
    out[a] =
      joint < 0
        ? (value - action.centre) / action.scale
        : (value - (state[joint] as number)) / (n.command[a] as number);
  });
  return out;
}

/** Origin and scale of each action dimension, given what is known. */
function frameOf(
  n: Normalisation,
  a: number,
  state: Float32Array,
  command: Float32Array | undefined,
): { origin: number; scale: number } {
  const action = n.action[a] as Normalisation['action'][number];
  switch (action.reference) {
    case 'absolute':
      return { origin: action.centre, scale: action.scale };
    case 'state':
      return { origin: state[action.joint] as number, scale: action.scale };
    case 'last_command':
      return command === undefined
        ? { origin: state[action.joint] as number, scale: action.scale_without_command }
        : { origin: command[a] as number, scale: action.scale };
  }
}

/**
 * Raw actions [steps·A] from `offset` on → model units into `out` [horizon, dims] from `at` on,
 * bounded by ±clip.
 */
export function encodeActions(
  n: Normalisation,
  actions: Float32Array,
  offset: number,
  steps: number,
  state: Float32Array,
  command: Float32Array | undefined,
  out: Float32Array,
  at: number,
  dims: number,
  clip: number,
): void {
  const width = n.action.length;
  for (let a = 0; a < width; a++) {
    const { origin, scale } = frameOf(n, a, state, command);
    for (let k = 0; k < steps; k++) {
      const value = ((actions[offset + k * width + a] as number) - origin) / scale;
      out[at + k * dims + a] = Math.max(-clip, Math.min(clip, value));
    }
  }
}

/** Model units [horizon, dims] from `at` on → raw actions f32 [horizon·A]. */
export function decodeActions(
  n: Normalisation,
  values: Float32Array,
  at: number,
  horizon: number,
  dims: number,
  state: Float32Array,
  command: Float32Array | undefined,
): Float32Array {
  const width = n.action.length;
  const out = new Float32Array(horizon * width);
  for (let a = 0; a < width; a++) {
    const { origin, scale } = frameOf(n, a, state, command);
    for (let k = 0; k < horizon; k++) {
      out[k * width + a] = (values[at + k * dims + a] as number) * scale + origin;
    }
  }
  return out;
}
