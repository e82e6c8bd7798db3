import type { Sampler } from '@armature/sdk/contract';
import { earlierInEpisode } from '../data/index.ts';
import type { ActRow, PolicyHandle, PolicyRuntime } from '../runtime/index.ts';
import type { TrainingEpisode } from './episodes.ts';

/** A frame of an episode that was not trained on. */
export interface HeldOutFrame {
  readonly episode: TrainingEpisode;
  readonly t: number;
}

/** About `count` frames, evenly spaced over the episodes. */
export function spacedFrames(episodes: readonly TrainingEpisode[], count: number): HeldOutFrame[] {
  const all = episodes.flatMap((episode) =>
    Array.from({ length: episode.length }, (_, t) => ({ episode, t })),
  );
  const stride = Math.max(1, Math.floor(all.length / count));
  return all.filter((_, i) => i % stride === 0).slice(0, count);
}

/**
 * Mean squared error of the chunk that a policy gives at each frame, in units of each action dimension's
 * variance, up to the episode's end. Frame i starts from the noise of seed i.
 */
export async function chunkErrors(o: {
  runtime: PolicyRuntime;
  policy: PolicyHandle;
  frames: readonly HeldOutFrame[];
  sampler: Sampler;
  /** Frames a run. */
  batch: number;
  signal?: AbortSignal;
}): Promise<number[]> {
  const { spec, stats } = o.policy.manifest;
  const actions = spec.action.length;
  const errors: number[] = [];
  for (let start = 0; start < o.frames.length; start += o.batch) {
    o.signal?.throwIfAborted();
    const batch = o.frames.slice(start, start + o.batch);
    const rows = batch.map((frame, i) => rowOf(o.policy, frame, start + i, o.sampler));
    const answers = await o.runtime.act(rows);
    batch.forEach(({ episode, t }, i) => {
      const predicted = answers[i]?.actions;
      if (predicted === undefined) throw new RangeError('the policy gave no actions');
      const steps = Math.min(spec.horizon, episode.length - t);
      let total = 0;
      for (let k = 0; k < steps * actions; k++) {
        const std = Math.max(1e-6, stats.action.std[k % actions] ?? 1);
        const error =
          ((predicted[k] as number) - (episode.action[t * actions + k] as number)) / std;
        total += error * error;
      }
      errors.push(total / (steps * actions));
    });
  }
  return errors;
}

function rowOf(
  policy: PolicyHandle,
  { episode, t }: HeldOutFrame,
  seed: number,
  sampler: Sampler,
): ActRow {
  const { spec } = policy.manifest;
  const [states, actions] = [spec.state.length, spec.action.length];
  const earlier = earlierInEpisode(episode, t, { horizon: spec.horizon, width: states });
  return {
    policy,
    images: Object.fromEntries(
      spec.cameras.map((camera) => [camera.name, episode.image(camera.name, t)]),
    ),
    instruction: episode.instruction,
    state: episode.state.subarray(t * states, (t + 1) * states),
    ...(t === 0 ? {} : { lastCommand: episode.action.subarray((t - 1) * actions, t * actions) }),
    seed,
    sampler,
    ...(earlier === undefined ? {} : { earlier }),
  };
}
