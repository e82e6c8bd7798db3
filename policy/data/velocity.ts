import type { EmbodimentSpec } from '@armature/sdk/contract';
import { boundState, type Motion, type Normalisation } from './normalise.ts';

/** An earlier observation of the same robot, as far as its state goes. */
export interface EarlierState {
  /** f32 [S], raw units. */
  readonly state: Float32Array;
  /** How long before the present one, in control periods of the embodiment. */
  readonly periods: number;
}

/** Velocities under this share of a joint's standard deviation a period are noise. */
const LEAST = 0.005;
/** Observations closer together than this many periods say nothing of a velocity. */
const CLOSEST = 0.5;

/**
 * Scale of each state joint's velocity, raw units a control period: its standard deviation over the
 * set, taken over half a chunk, which is what a robot that asks anew half-way sees.
 * @throws RangeError when no episode is longer than half a chunk.
 */
export function fitVelocity(
  spec: EmbodimentSpec,
  episodes: readonly Motion[],
  deviations: readonly number[],
): number[] {
  const lag = spec.horizon / 2;
  const width = spec.state.length;
  const pairs = episodes.reduce((sum, { length }) => sum + Math.max(0, length - lag), 0);
  if (pairs === 0) throw new RangeError(`velocities need an episode of more than ${lag} frames`);
  return Array.from({ length: width }, (_, d) => {
    let square = 0;
    for (const { state, length } of episodes) {
      for (let t = lag; t < length; t++) {
        const moved = (state[t * width + d] as number) - (state[(t - lag) * width + d] as number);
        square += (moved / lag) ** 2;
      }
    }
    return Math.max(Math.sqrt(square / pairs), LEAST * (deviations[d] as number));
  });
}

/**
 * Velocity since an earlier state as the model reads it, f32 [dims] in [-3, 3], padded with zeros;
 * undefined where the policy reads none, or the earlier state is too close or too far away to tell.
 * @param state f32 [S], raw units, the present one
 * @param horizon actions of a chunk: over more periods than these no velocity is taken
 */
export function encodeVelocity(
  { velocity }: Normalisation,
  earlier: EarlierState | undefined,
  state: Float32Array,
  horizon: number,
  dims: number,
): Float32Array | undefined {
  if (velocity === undefined || earlier === undefined) return undefined;
  const { periods } = earlier;
  if (!(periods >= CLOSEST && periods <= horizon)) return undefined;
  const out = new Float32Array(dims);
  velocity.forEach((scale, i) => {
    const moved = (state[i] as number) - (earlier.state[i] as number);
    out[i] = boundState(moved / periods / scale);
  });
  return out;
}

/**
 * The state of an episode so many control periods before frame t, or its first; undefined at frame 0.
 * Half a chunk unless told: what a robot that asks anew half-way has seen before.
 */
export function earlierInEpisode(
  { state }: Pick<Motion, 'state'>,
  t: number,
  o: { readonly horizon: number; readonly width: number; readonly periods?: number },
): EarlierState | undefined {
  const { horizon, width, periods: asked = horizon / 2 } = o;
  const periods = Math.min(t, asked);
  if (periods === 0) return undefined;
  return { state: state.subarray((t - periods) * width, (t - periods + 1) * width), periods };
}
