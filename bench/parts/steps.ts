import { readFile } from 'node:fs/promises';
import { baseWeightsUrl, loadBase } from '@armature/policy/checkpoint';
import { Engine } from '@armature/policy/engine';
import { PolicyRuntime } from '@armature/policy/runtime';
import { chunkErrors, spacedFrames } from '@armature/policy/train';
import { trio } from '@armature/sim';
import { successRate } from '../closed-loop.ts';
import { demonstrations, trainedPolicy } from '../fresh-policy.ts';
import type { Figure, PartMeasurement, PartOptions } from '../result.ts';
import { quantile, timed } from '../timing.ts';

const HELD_OUT_SEED = 77;
const BATCH = 16;

const sizes = {
  full: {
    ...{
      demos: 50,
      steps: 500,
      batch: 64,
      heldOut: 12,
      frames: 240,
      scenes: 60,
      turns: 5,
      calls: 6,
    },
    denoising: [2, 3, 4, 5, 8, 10, 15, 20],
    /** From full noise as the paper has it, and from none, which some trained versions do better with. */
    noise: [1, 0],
  },
  quick: {
    ...{ demos: 3, steps: 4, batch: 16, heldOut: 1, frames: 16, scenes: 1, turns: 1, calls: 1 },
    denoising: [2, 20],
    noise: [1],
  },
} as const;

/**
 * Quality against denoising steps: a version of mode `policy` trained on simulated demonstrations, asked with
 * 2 to 20 steps about frames of demonstrations that it has not seen, let act in scenes, and timed on single rows
 * by turns.
 */
export async function measureSteps({ threads, quick }: PartOptions): Promise<PartMeasurement> {
  const size = quick ? sizes.quick : sizes.full;
  const engine = await Engine.start({ threads, name: 'bench' });
  const base = loadBase(await readFile(baseWeightsUrl('nano')));
  const version = await trainedPolicy(engine, base, trio, await demonstrations(trio, size.demos), {
    mode: 'policy',
    steps: size.steps,
    batch_size: size.batch,
  });
  const runtime = await PolicyRuntime.create({ engine, base, buckets: [1, BATCH], slots: 1 });
  const policy = await runtime.load(version);
  const frames = spacedFrames(await demonstrations(trio, size.heldOut, HELD_OUT_SEED), size.frames);
  const latencies = await latenciesOf(runtime, policy, frames, size);
  const { sampler: chosen } = version.manifest;
  const figures: Figure[] = [
    { name: 'chosen by training: steps', value: chosen.steps, unit: 'steps' },
    { name: 'chosen by training: scale of the noise', value: chosen.noise_scale, unit: 'std' },
  ];
  const summary = {
    steps_held_out_error: {} as Record<string, number>,
    steps_success: {} as Record<string, number>,
    steps_chunk_ms: Object.fromEntries([...latencies].map(([steps, ms]) => [`${steps}_steps`, ms])),
  };
  for (const noise_scale of size.noise) {
    for (const steps of size.denoising) {
      const sampler = { steps, noise_scale };
      const errors = await chunkErrors({ runtime, policy, frames, sampler, batch: BATCH });
      const error = errors.reduce((sum, value) => sum + value, 0) / errors.length;
      const { scenes } = size;
      const rate = await successRate({ runtime, policy, embodiment: trio, scenes, sampler });
      const ms = latencies.get(steps) ?? NaN;
      const name = `${steps} steps, noise ${noise_scale}`;
      figures.push(
        { name: `${name}: held-out error`, value: error, unit: 'of the variance' },
        { name: `${name}: success`, value: 100 * rate, unit: '%' },
        { name: `${name}: a chunk`, value: ms, unit: 'ms' },
      );
      const key = `${steps}_steps_noise_${noise_scale}`;
      summary.steps_held_out_error[key] = error;
      summary.steps_success[key] = rate;
    }
  }
  await runtime.close();
  await engine.close();
  return { figures, summary };
}

/** Median milliseconds of a chunk for one robot, by steps. */
async function latenciesOf(
  runtime: PolicyRuntime,
  policy: Parameters<typeof chunkErrors>[0]['policy'],
  frames: Parameters<typeof chunkErrors>[0]['frames'],
  { denoising, turns, calls }: (typeof sizes)[keyof typeof sizes],
): Promise<Map<number, number>> {
  const times = new Map<number, number[]>(denoising.map((steps) => [steps, []]));
  for (let turn = 0; turn < turns; turn++) {
    for (const [steps, taken] of times) {
      const ask = () =>
        chunkErrors({
          runtime,
          policy,
          frames: frames.slice(0, 1),
          sampler: { steps, noise_scale: 1 },
          batch: 1,
        });
      taken.push(...(await timed(calls, 1, ask)));
    }
  }
  return new Map([...times].map(([steps, taken]) => [steps, quantile(taken, 0.5)]));
}
