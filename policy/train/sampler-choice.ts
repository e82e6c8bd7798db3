import type { Sampler } from '@armature/sdk/contract';
import { deviation, mean, sort } from 'd3-array';
import type { BaseModel } from '../checkpoint/index.ts';
import type { Engine } from '../engine/index.ts';
import { PolicyRuntime } from '../runtime/index.ts';
import type { TrainingEpisode } from './episodes.ts';
import type { FinishedPolicy } from './finetune-input.ts';
import { chunkErrors, spacedFrames } from './held-out.ts';

/** The paper's sampler: ten steps from full noise. */
export const DEFAULT_SAMPLER: Sampler = { steps: 10, noise_scale: 1 };

const STEPS = [4, 5, 10] as const;
const NOISE_SCALES = [0, 0.4, 1] as const;
const FRAMES = 96;
const BATCH = 16;

/** A sampler with its squared error on each frame, in units of each dimension's variance. */
export interface ScoredSampler {
  readonly sampler: Sampler;
  readonly errors: readonly number[];
}

/**
 * The sampler to serve with: of those that frames can't tell from the best (their mean error is higher
 * by no more than the standard error of the paired difference), the one with the fewest denoising
 * steps, and of those the one with the least error. A difference that chance explains is not worth
 * time ("one-standard-error rule", Breiman et al. 1984).
 * @param scored each over the same frames
 * @throws RangeError where there is none, or one has no frames or others than the first
 */
export function pickSampler(scored: readonly ScoredSampler[]): Sampler {
  const frames = scored[0]?.errors.length ?? 0;
  if (frames === 0 || scored.some(({ errors }) => errors.length !== frames)) {
    throw new RangeError('samplers are compared over the same frames, at least one');
  }
  const byError = sort(scored, ({ errors }) => mean(errors));
  const best = byError[0] as ScoredSampler;
  const alike = byError.filter(({ errors }) => {
    const excess = errors.map((error, i) => error - (best.errors[i] as number));
    const standardError = (deviation(excess) ?? 0) / Math.sqrt(frames);
    return (mean(excess) ?? 0) <= standardError;
  });
  return alike.reduce((a, b) => (b.sampler.steps < a.sampler.steps ? b : a), best).sampler;
}

/**
 * Measures denoising steps and scales of the starting noise on the given episodes, which were not
 * trained on, and picks from them with `pickSampler`.
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
  const frames = spacedFrames(o.episodes, FRAMES);
  const candidates = STEPS.flatMap((steps) =>
    NOISE_SCALES.map((noise_scale) => ({ steps, noise_scale })),
  );
  const scored: ScoredSampler[] = [];
  for (const sampler of candidates) {
    const errors = await chunkErrors({
      runtime,
      policy: handle,
      frames,
      sampler,
      batch: BATCH,
      ...(o.signal === undefined ? {} : { signal: o.signal }),
    });
    scored.push({ sampler, errors });
    o.onProgress?.(scored.length, candidates.length);
  }
  await runtime.close();
  return pickSampler(scored);
}
