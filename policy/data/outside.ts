import type { EmbodimentSpec } from '@armature/sdk/contract';
import { encodeActions, FARTHEST_STATE, type Motion, type Normalisation } from './normalise.ts';

/** A dimension of which more lies outside of given figures than training can do without. */
export interface Outside {
  readonly feature: 'state' | 'action';
  readonly name: string;
  /** Share of its values that is outside, 0 to 1. */
  readonly share: number;
}

/** Share of a dimension that may be outside: states are bounded there, actions are cut off. */
const MOST = { state: 0.1, action: 0.02 } as const;
/** Start frames looked at, at most. */
const MAX_STARTS = 6000;

/**
 * Dimensions of a set that figures of another set do not hold, the worst first: states beyond three
 * standard deviations in more than 10 % of the frames, actions beyond `clip` scales in more than 2 %
 * of the steps of all chunks. Empty where the figures can be kept.
 * @throws RangeError when there is no frame.
 */
export function outsideOf(
  figures: Normalisation,
  spec: EmbodimentSpec,
  episodes: readonly Motion[],
  clip: number,
): Outside[] {
  const frames = episodes.reduce((sum, { length }) => sum + length, 0);
  if (frames === 0) throw new RangeError('a set needs at least one frame');
  const stride = Math.max(1, Math.floor(frames / MAX_STARTS));
  const [states, actions] = [spec.state.length, spec.action.length];
  const stateOut = new Float64Array(states);
  const actionOut = new Float64Array(actions);
  const chunk = new Float32Array(spec.horizon * actions);
  let starts = 0;
  let steps = 0;
  for (const { state, action, length } of episodes) {
    for (let t = 0; t < length; t += stride) {
      starts += 1;
      const felt = state.subarray(t * states, (t + 1) * states);
      figures.state.mean.forEach((mean, s) => {
        const z = ((felt[s] as number) - mean) / (figures.state.std[s] as number);
        if (Math.abs(z) > FARTHEST_STATE) stateOut[s] = (stateOut[s] as number) + 1;
      });
      const count = Math.min(spec.horizon, length - t);
      const last = t > 0 ? action.subarray((t - 1) * actions, t * actions) : undefined;
      encodeActions(
        figures,
        action,
        t * actions,
        count,
        felt,
        last,
        chunk,
        0,
        actions,
        Number.MAX_VALUE,
      );
      steps += count;
      for (let i = 0; i < count * actions; i++) {
        const a = i % actions;
        if (Math.abs(chunk[i] as number) > clip) actionOut[a] = (actionOut[a] as number) + 1;
      }
    }
  }
  const of = (feature: 'state' | 'action', counts: Float64Array, total: number): Outside[] =>
    [...counts].map((counted, i) => ({
      feature,
      name: spec[feature][i]?.name ?? String(i),
      share: counted / total,
    }));
  return [...of('state', stateOut, starts), ...of('action', actionOut, steps)]
    .filter(({ feature, share }) => share > MOST[feature])
    .sort((a, b) => b.share / MOST[b.feature] - a.share / MOST[a.feature]);
}
