import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { shippedBase, smallEpisodes, smallSpec } from '../../test/support/small-policy.ts';
import { fitNormalisation, imageSize, seeded } from '../data/index.ts';
import { summaryWidth, type DivlaConfig } from '../divla/index.ts';
import { Engine, type Value } from '../engine/index.ts';
import { flatLayout } from '../nn/flat.ts';
import { elements, initialValues } from '../nn/params.ts';
import { trainingBatch } from './batch.ts';
import type { TrainGraphOptions } from './graph.ts';
import { resolveOptions } from './options.ts';
import { TrainSession, type TrainState } from './session.ts';

/**
 * The loss of the training graph beside the same in plain numbers. The head's last layer has no
 * weights but a bias, so that what is predicted is known without a network: the bias.
 */

const [ROWS, DRAWS, LEFT] = [3, 2, 5];
const base = shippedBase();
const spec = smallSpec(3);
const { horizon } = spec;
const { dims } = base.config.head;
const episodes = smallEpisodes(spec, 1);
const heads = base.headSpecs.map((one) => ({ ...one, shape: [1, ...one.shape] }));
const bias = Float32Array.from({ length: dims }, (_, a) => Math.sin(a + 1));

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'loss' });
});
afterAll(() => engine.close());

type Batch = Readonly<Record<string, Value>>;

/** Rows that each begin `LEFT` frames before their episode ends. */
function lastFrames(): Batch {
  const frame = { episode: 0, t: (episodes[0]?.length ?? 0) - LEFT };
  const options = resolveOptions({
    mode: 'head',
    steps: 1,
    batch_size: ROWS,
    seed: 3,
    images: 'use',
    labels: 'none',
  });
  const width = summaryWidth(base.config);
  return trainingBatch(
    {
      config: base.config,
      signature: { external: 1, wrist: 0, ...imageSize(spec), horizon },
      spec,
      normalisation: fitNormalisation(spec, episodes),
      episodes,
      frames: [frame],
      options: { ...options, draws: DRAWS },
      spread: new Float32Array(spec.state.length),
      weights: Float32Array.of(0.5, 1, 1.5),
      features: {
        views: 1,
        summaryWidth: width,
        reasoningWidth: base.config.decoder.reasoning,
        summary: () => Float32Array.from({ length: width }, (_, i) => Math.cos(i)),
        reasoning: () => new Float32Array(base.config.decoder.reasoning),
      },
    },
    0,
  );
}

/** The batch with other numbers in one of its tensors. */
function changed(
  batch: Batch,
  name: string,
  change: (value: number, index: number) => number,
): Batch {
  const value = batch[name];
  if (!(value?.data instanceof Float32Array)) throw new RangeError(`no ${name}`);
  return { ...batch, [name]: { ...value, data: value.data.map(change) } };
}

const numbers = (batch: Batch, name: string): Float32Array => {
  const data = batch[name]?.data;
  if (data instanceof Float32Array) return data;
  throw new RangeError(`no ${name}`);
};

async function step(
  batch: Batch,
  config: DivlaConfig = base.config,
  passes = 1,
): Promise<{ loss: number; state: TrainState }> {
  const options = {
    config,
    signature: { external: 1, wrist: 0, ...imageSize(spec), horizon },
    pictures: ROWS,
    instructions: 1,
    draws: DRAWS,
    prefixed: false,
    spoken: 0,
    slots: 1,
    passes,
    from: 'features',
    trainable: flatLayout(heads),
    reasoningWeight: 0,
    groundingWeight: 0,
    // Unclipped: a bias's moments then hang on nothing but its own gradient.
    optimiser: { beta1: 0.9, beta2: 0.98, eps: 1e-8, clip: 1e9, weightDecay: 0.01 },
  } as const satisfies TrainGraphOptions;
  const session = await TrainSession.create({
    engine,
    id: 'loss',
    options,
    settings: { peakRate: 1e-3, warmup: 1, totalSteps: 4, rateFloor: 0.02, emaDecay: 0.9 },
    weights: (name) => {
      if (name === 'head.decode.out.bias') return bias;
      const own = base.headSpecs.find((one) => one.name === name);
      if (own === undefined) return base.trunk.get(name) ?? new Float32Array();
      if (name === 'head.decode.out.weight') return new Float32Array(elements(own.shape));
      return initialValues(own, 4);
    },
  });
  const { actionLoss } = await session.step(batch, 0);
  const state = await session.state();
  await session.close();
  return { loss: actionLoss, state };
}

/** Weighed squared errors of the bias over the weights' sum, in float64. */
function plainLoss(
  batch: Batch,
  prediction: DivlaConfig['diffusion']['prediction'],
  weight: (row: number, k: number, a: number) => number,
): number {
  const [clean, noise, levels] = ['clean', 'noise', 'levels'].map((name) => numbers(batch, name));
  let [sum, count] = [0, 0];
  for (let n = 0; n < ROWS * DRAWS; n += 1) {
    const row = Math.floor(n / DRAWS);
    for (let k = 0; k < horizon; k += 1) {
      for (let a = 0; a < dims; a += 1) {
        const z = noise?.[(n * horizon + k) * dims + a] ?? NaN;
        const x = clean?.[(row * horizon + k) * dims + a] ?? NaN;
        const [root = NaN, rest = NaN] = levels?.subarray(3 * n + 1, 3 * n + 3) ?? [];
        const target = prediction === 'epsilon' ? z : root * z - rest * x;
        const w = weight(row, k, a);
        sum += w * ((bias[a] ?? NaN) - target) ** 2;
        count += w;
      }
    }
  }
  return sum / count;
}

describe('the loss of actions', () => {
  it.each([
    ['epsilon', 1],
    ['v_prediction', 1],
    ['v_prediction', ROWS],
  ] as const)(
    'is the mean of what is scored, over as much as is scored: %s, passes: %i',
    async (prediction, passes) => {
      const config = { ...base.config, diffusion: { ...base.config.diffusion, prediction } };
      const random = seeded(8);
      // The first row ends early, the second is not scored at all, weights of the rest are uneven.
      const batch = changed(lastFrames(), 'keep', (_, i) => {
        const [row, k] = [Math.floor(i / (horizon * dims)), Math.floor(i / dims) % horizon];
        return row === 1 || (row === 0 && k > 2) ? 0 : 2 * random.uniform();
      });
      const keep = numbers(batch, 'keep');
      const { loss } = await step(batch, config, passes);
      const plain = plainLoss(
        batch,
        prediction,
        (row, k, a) => keep[(row * horizon + k) * dims + a] ?? NaN,
      );
      expect(Math.abs(loss / plain - 1)).toBeLessThan(1e-5);
    },
  );

  it('counts the frames that an episode has left, and only the robot’s own actions', async () => {
    const batch = lastFrames();
    const { loss } = await step(batch);
    const weights = [0.5, 1, 1.5];
    const plain = plainLoss(batch, base.config.diffusion.prediction, (_, k, a) =>
      k < LEFT ? (weights[a] ?? 0) : 0,
    );
    expect(Math.abs(loss / plain - 1)).toBeLessThan(1e-5);
  });

  it('looks at nothing behind an episode’s end, and neither does its gradient', async () => {
    const batch = lastFrames();
    const expected = await step(batch);
    // The noise is the target, or half of it; it is an input too, which a bias does not look at.
    const behind = changed(batch, 'noise', (value, i) =>
      Math.floor(i / dims) % horizon < LEFT ? value : 7 - value,
    );
    const got = await step(behind);
    expect(got.loss).toBe(expected.loss);
    const within = changed(batch, 'noise', (value, i) => (i === 0 ? 7 - value : value));
    expect((await step(within)).loss).not.toBe(expected.loss);
    const at = flatLayout(heads).offsets.get('head.decode.out.bias') ?? NaN;
    const moments = (state: TrainState) => state.m.slice(at, at + dims);
    const slope = moments(expected.state);
    expect(slope.slice(0, 3).every((value) => value !== 0)).toBe(true);
    expect(moments(got.state)).toEqual(slope);
  });

  it('is zero where nothing is scored', async () => {
    const { loss, state } = await step(changed(lastFrames(), 'keep', () => 0));
    expect(loss).toBe(0);
    expect(state.theta.every(Number.isFinite)).toBe(true);
  });
});
