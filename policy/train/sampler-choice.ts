import type { Sampler } from '@armature/sdk/contract';
import type { BaseModel } from '../checkpoint/index.ts';
import type { Engine } from '../engine/index.ts';
import { PolicyRuntime, type ActRow } from '../runtime/index.ts';
import type { TrainingEpisode } from './episodes.ts';
import type { FinishedPolicy } from './finetune.ts';

/** The paper's sampler: ten steps from full noise. */
export const DEFAULT_SAMPLER: Sampler = { steps: 10, noise_scale: 1 };

const STEPS = [4, 5, 10] as const;
const NOISE_SCALES = [0, 0.4, 1] as const;
const FRAMES = 96;
const BATCH = 16;

/**
 * The denoising steps and scale of the starting noise with the least squared error on the given
 * episodes (in units of each dimension's variance), which were not trained on.
 */
export async function chooseSampler(o: {
  engine: Engine;
  base: BaseModel;
  policy: FinishedPolicy;
  episodes: readonly TrainingEpisode[];
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}): Promise<Sampler> {
  const runtime = await PolicyRuntime.create({
    engine: o.engine,
    base: o.base,
    buckets: [BATCH],
    slots: 1,
    name: 'sampler',
  });
  const handle = await runtime.load(o.policy);
  const { spec, stats } = o.policy.manifest;
  const [states, actions] = [spec.state.length, spec.action.length];
  const frames = spacedFrames(o.episodes, FRAMES);
  const candidates = STEPS.flatMap((steps) =>
    NOISE_SCALES.map((noise_scale) => ({ steps, noise_scale })),
  );
  const scored: { sampler: Sampler; error: number }[] = [];
  for (const sampler of candidates) {
    let total = 0;
    let count = 0;
    for (let start = 0; start < frames.length; start += BATCH) {
      o.signal?.throwIfAborted();
      const batch = frames.slice(start, start + BATCH);
      const rows = batch.map(({ episode, t }, i): ActRow => ({
        policy: handle,
        images: Object.fromEntries(
          spec.cameras.map((camera) => [camera.name, episode.image(camera.name, t)]),
        ),
        instruction: episode.instruction,
        state: episode.state.subarray(t * states, (t + 1) * states),
        ...(t === 0
          ? {}
          : { lastCommand: episode.action.subarray((t - 1) * actions, t * actions) }),
        seed: start + i,
        sampler,
      }));
      const answers = await runtime.act(rows);
      batch.forEach(({ episode, t }, i) => {
        const predicted = answers[i]?.actions;
        if (predicted === undefined) throw new RangeError('the policy gave no actions');
        const steps = Math.min(spec.horizon, episode.length - t);
        for (let k = 0; k < steps * actions; k++) {
          const std = Math.max(1e-6, stats.action.std[k % actions] ?? 1);
          const error =
            ((predicted[k] as number) - (episode.action[t * actions + k] as number)) / std;
          total += error * error;
          count++;
        }
      });
    }
    scored.push({ sampler, error: total / count });
    o.onProgress?.(scored.length, candidates.length);
  }
  await runtime.close();
  const [first, ...others] = scored;
  if (first === undefined) throw new RangeError('there is no sampler to choose from');
  return others.reduce((a, b) => (b.error < a.error ? b : a), first).sampler;
}

/** About `count` frames, evenly spaced over the episodes. */
function spacedFrames(
  episodes: readonly TrainingEpisode[],
  count: number,
): { episode: TrainingEpisode; t: number }[] {
  const all = episodes.flatMap((episode) =>
    Array.from({ length: episode.length }, (_, t) => ({ episode, t })),
  );
  const stride = Math.max(1, Math.floor(all.length / count));
  return all.filter((_, i) => i % stride === 0).slice(0, count);
}
