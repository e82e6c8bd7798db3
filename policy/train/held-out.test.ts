import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  plainStats,
  shippedBase,
  smallEpisodes,
  smallSpec,
} from '../../test/support/small-policy.ts';
import { Engine } from '../engine/index.ts';
import { PolicyRuntime } from '../runtime/index.ts';
import { Finetune } from './finetune.ts';
import { chunkErrors, spacedFrames, squaredError } from './held-out.ts';
import { resolveOptions } from './options.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'held-out' });
});
afterAll(() => engine.close());

it.each(['state', 'last_command'] as const)(
  'shows a policy that was trained on changed pictures the pictures as they are, with what it knows of %s',
  async (reference) => {
    const base = shippedBase();
    const spec = smallSpec(3, { wrist: true, reference });
    const names = spec.action.map((joint) => joint.name);
    const asked = {
      mode: 'full',
      steps: 1,
      batch_size: 2,
      random_crop: 0.3,
      colour_jitter: 1,
    } as const;
    const finetune = await Finetune.create({
      engine,
      base,
      spec,
      stats: { state: plainStats(names), action: plainStats(names) },
      episodes: smallEpisodes(spec, 2),
      options: resolveOptions({ ...asked, seed: 3, images: 'use', labels: 'none' }),
    });
    await finetune.step();
    const version = await finetune.finish();
    await finetune.close();
    const runtime = await PolicyRuntime.create({
      engine,
      base,
      buckets: [2],
      slots: 1,
      name: 'held',
    });
    const policy = await runtime.load(version);
    const [episode] = smallEpisodes(spec, 1);
    if (episode === undefined) throw new RangeError('no episode');
    const sampler = { steps: 4, noise_scale: 1 } as const;
    const frames = spacedFrames([episode], 4);
    const errors = await chunkErrors({ runtime, policy, frames, sampler, batch: 2 });

    const expected: number[] = [];
    for (const [seed, t] of [0, 6, 12, 18].entries()) {
      const back = Math.min(t, spec.horizon / 2);
      const [answer] = await runtime.act([
        {
          policy,
          images: { top: episode.image('top', t), wrist: episode.image('wrist', t) },
          instruction: episode.instruction,
          state: episode.state.subarray(t * 3, t * 3 + 3),
          ...(t === 0
            ? {}
            : {
                lastCommand: episode.action.subarray(t * 3 - 3, t * 3),
                earlier: { state: episode.state.subarray((t - back) * 3), periods: back },
              }),
          seed,
          sampler,
        },
      ]);
      const recorded = episode.action.subarray(t * 3, (t + spec.horizon) * 3);
      const squares = recorded.map((value, i) => (value - (answer?.actions[i] ?? NaN)) ** 2);
      expected.push(squares.reduce((sum, value) => sum + value) / recorded.length);
    }
    await runtime.close();
    expect(frames.map(({ t }) => t)).toEqual([0, 6, 12, 18]);
    errors.forEach((error, i) => {
      expect(Math.abs(error / (expected[i] ?? NaN) - 1)).toBeLessThan(1e-4);
    });
  },
);

it('counts errors in standard deviations, of what moved in training alone', () => {
  const recorded = Float32Array.of(1, 5, 2, 5);
  const predicted = Float32Array.of(1.5, 5.25, 1, 4, 9, 9);
  // Of the first dimension: 0.5 and 1, in deviations of a half; the second stood still.
  expect(squaredError(predicted, recorded, [0.5, 0])).toBeCloseTo((1 + 4) / 2, 6);
  expect(squaredError(predicted, recorded, [0.5, 1])).toBeCloseTo((1 + 0.0625 + 4 + 1) / 4, 6);
  expect(squaredError(predicted, recorded, [0, 0])).toBe(0);
});
