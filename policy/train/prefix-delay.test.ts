import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { shippedBase } from '../../test/support/small-policy.ts';
import { seeded } from '../data/index.ts';
import { Engine, type Value } from '../engine/index.ts';
import { flatLayout } from '../nn/flat.ts';
import { elements, initialValues } from '../nn/params.ts';
import { trainGraph, type TrainGraphOptions } from './graph.ts';
import { drawPrefixes } from './prefix-delay.ts';
import { TrainSession, type TrainState } from './session.ts';

const [ROWS, DRAWS, HORIZON] = [3, 2, 16];
const base = shippedBase();
const heads = base.headSpecs.map((spec) => ({ ...spec, shape: [1, ...spec.shape] }));
const options = {
  config: base.config,
  signature: { external: 1, wrist: 0, width: 64, height: 64, horizon: HORIZON },
  pictures: ROWS,
  instructions: 1,
  draws: DRAWS,
  prefixed: true,
  spoken: 0,
  slots: 1,
  passes: 1,
  from: 'features',
  trainable: flatLayout(heads),
  reasoningWeight: 0,
  groundingWeight: 0,
  optimiser: { beta1: 0.9, beta2: 0.98, eps: 1e-8, clip: 1, weightDecay: 0.01 },
} as const satisfies TrainGraphOptions;

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1 });
});
afterAll(() => engine.close());

type Batch = Record<string, Value>;

/** Random numbers for everything that a step is given, but what `over` says. */
function batchOf(over: Readonly<Record<string, Float32Array>>): Batch {
  const random = seeded(21);
  const inputs = trainGraph(options).inputs.filter(({ name }) => GIVEN.includes(name));
  return Object.fromEntries(
    inputs.map(({ name, tensor: { shape } }) => {
      const data = Float32Array.from({ length: elements(shape) }, () => random.uniform());
      return [name, { dtype: 'float32', shape, data: over[name] ?? data } as const];
    }),
  );
}

const GIVEN = [
  ...['summary', 'reasoning', 'state', 'command', 'known', 'clean', 'keep', 'noise', 'levels'],
  'given',
];

/** A step from the same start: its loss, and what the optimiser makes of its gradient. */
async function step(batch: Batch, prefixed = true): Promise<{ loss: number; state: TrainState }> {
  const session = await TrainSession.create({
    engine,
    id: 'prefix',
    options: { ...options, prefixed },
    settings: { peakRate: 1e-3, warmup: 1, totalSteps: 4, rateFloor: 0.02, emaDecay: 0.9 },
    weights: (name) => {
      const spec = base.headSpecs.find((one) => one.name === name);
      return spec === undefined
        ? (base.trunk.get(name) ?? new Float32Array())
        : initialValues(spec, 4);
    },
  });
  const { loss } = await session.step(batch, 0);
  const state = await session.state();
  await session.close();
  return { loss, state };
}

const delays = [0, 5, 2, 8, 1, 3];
const given = new Float32Array(ROWS * DRAWS * HORIZON);
delays.forEach((delay, i) => given.fill(1, i * HORIZON, i * HORIZON + delay));

describe('a prefix that is given', () => {
  it('is seen by neither loss nor gradient, whatever is to be predicted there', async () => {
    const batch = batchOf({ given });
    const noise = (batch['noise']?.data as Float32Array).slice();
    const { dims } = base.config.head;
    // The noise is part of the target. Under the prefix it is neither fed nor scored.
    const changed = noise.map((value, i) =>
      given[Math.floor(i / dims)] === 1 ? 9 - value : value,
    );
    const behind = noise.slice();
    behind[delays[0] ?? 0] = 9;
    const expected = await step(batch);
    expect(await step(batchOf({ given, noise: changed }))).toEqual(expected);
    expect(await step(batchOf({ given, noise: behind }))).not.toEqual(expected);
  });

  it('of no actions is training without one, bit for bit', async () => {
    const { given: mask, ...plain } = batchOf({ given: new Float32Array(given.length) });
    expect(mask?.shape).toEqual([ROWS * DRAWS, HORIZON]);
    expect(await step({ ...plain, ...(mask && { given: mask }) })).toEqual(
      await step(plain, false),
    );
  });

  it('is shown to the network: other actions in it give another step', async () => {
    const batch = batchOf({ given });
    const clean = (batch['clean']?.data as Float32Array).slice();
    // Row 1 has the delays 2 and 8: its first two actions are in the prefix of both draws.
    const at = HORIZON * base.config.head.dims;
    clean[at] = (clean[at] ?? NaN) + 1;
    expect((await step(batchOf({ given, clean }))).loss).not.toBe((await step(batch)).loss);
  });
});

describe('delays', () => {
  it('are prefixes of 0 to the most actions, by seed and step alone', () => {
    fc.assert(
      fc.property(
        fc.record({ seed: fc.nat(), step: fc.nat(1e5), most: fc.integer({ min: 0, max: 8 }) }),
        (o) => {
          const drawn = drawPrefixes({ ...o, draws: 20, horizon: HORIZON });
          expect(drawPrefixes({ ...o, draws: 20, horizon: HORIZON })).toEqual(drawn);
          for (let i = 0; i < 20; i++) {
            const row = drawn.slice(i * HORIZON, (i + 1) * HORIZON);
            const delay = row.reduce((sum, value) => sum + value, 0);
            expect(delay).toBeLessThanOrEqual(o.most);
            expect(row.slice(0, delay).every((value) => value === 1)).toBe(true);
          }
        },
      ),
      { numRuns: 50 },
    );
  });

  it('are all as likely', () => {
    const draws = 5000;
    const drawn = drawPrefixes({ seed: 1, step: 2, draws, most: 4, horizon: HORIZON });
    const counts = [0, 0, 0, 0, 0];
    for (let i = 0; i < draws; i++) {
      const delay = drawn.slice(i * HORIZON, (i + 1) * HORIZON).reduce((sum, v) => sum + v, 0);
      counts[delay] = (counts[delay] ?? NaN) + 1;
    }
    // Six standard deviations of a binomial with p = 1/5.
    for (const count of counts) expect(Math.abs(count - draws / 5)).toBeLessThan(170);
  });
});
