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
 * variance, up to the episode's end, over the dimensions that moved in training: others have no scale. Frame i
 * starts from the noise of seed i.
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
      const recorded = episode.action.subarray(t * actions, (t + spec.horizon) * actions);
      errors.push(squaredError(predicted, recorded, stats.action.std));
    });
  }
  return errors;
}

/**
 * Mean square of predicted − recorded in standard deviations; 0 where no dimension has any.
 * @param predicted [≥ T, A]
 * @param recorded [T, A]
 * @param std [A]
 */
export function squaredError(
  predicted: Float32Array,
  recorded: Float32Array,
  std: readonly number[],
): number {
  let total = 0;
  let count = 0;
  for (const [k, value] of recorded.entries()) {
    const unit = std[k % std.length] as number;
    if (unit === 0) continue;
    total += (((predicted[k] as number) - value) / unit) ** 2;
    count += 1;
  }
  return count === 0 ? 0 : total / count;
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
