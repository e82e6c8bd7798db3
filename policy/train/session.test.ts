import { afterAll, beforeAll, expect, it } from 'vitest';
import { shippedBase } from '../../test/support/small-policy.ts';
import { drawnBatch } from '../../test/support/train-batch.ts';
import { Engine } from '../engine/index.ts';
import { flatLayout } from '../nn/flat.ts';
import { elements, initialValues } from '../nn/params.ts';
import type { TrainGraphOptions } from './graph.ts';
import { TrainSession, type TrainState } from './session.ts';

const base = shippedBase();
const heads = new Map(base.headSpecs.map((spec) => [spec.name, initialValues(spec, 2)]));
const layout = flatLayout(base.headSpecs);
const optimiser = { beta1: 0.9, beta2: 0.98, eps: 1e-6, clip: 0.05, weightDecay: 0.1 } as const;
const settings = { peakRate: 1e-2, warmup: 2, totalSteps: 6, rateFloor: 0.1, emaDecay: 0.3 };
const options: TrainGraphOptions = {
  config: base.config,
  signature: { external: 1, wrist: 0, width: 32, height: 32, horizon: 8 },
  pictures: 2,
  instructions: 1,
  draws: 2,
  prefixed: false,
  from: 'images',
  reasoningWeight: 0,
  groundingWeight: 0,
  optimiser,
  trainable: layout,
  passes: 1,
  slots: 1,
  spoken: 0,
};

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 2, name: 'session' });
});
afterAll(() => engine.close());

/** Matrices and kernels decay; what has one axis is a bias or a scale of a norm. */
const decays = new Uint8Array(layout.size);
for (const { name, shape } of layout.specs) {
  const at = layout.offsets.get(name) ?? NaN;
  decays.fill(shape.length > 1 ? 1 : 0, at, at + elements(shape));
}

/**
 * A step of AdamW as algorithm 2 of Loshchilov and Hutter has it, in plain numbers.
 * @param t number of the step, from 1
 */
function stepped(before: TrainState, gradient: Float64Array, t: number): TrainState {
  const { beta1, beta2, eps, weightDecay } = optimiser;
  // From 0 in a line to the peak; then half a cosine to a tenth of it.
  const rates = [0, 0.005, 0.01, 0.01 * (0.1 + 0.9 * 0.5 * (1 + Math.cos(Math.PI / 4)))];
  const rate = rates[t - 1] ?? NaN;
  const follow = [1 / 10, 2 / 11, 3 / 12, 0.3][t - 1] ?? NaN;
  const next = {
    step: t,
    theta: before.theta.slice(),
    m: before.m.slice(),
    v: before.v.slice(),
    ema: before.ema.slice(),
  };
  gradient.forEach((g, i) => {
    const [m, v] = [
      beta1 * (before.m[i] ?? NaN) + (1 - beta1) * g,
      beta2 * (before.v[i] ?? NaN) + (1 - beta2) * g * g,
    ];
    const ahead = m / (1 - beta1 ** t) / (Math.sqrt(v / (1 - beta2 ** t)) + eps);
    const was = before.theta[i] ?? NaN;
    const theta = was - rate * (ahead + (decays[i] === 1 ? weightDecay * was : 0));
    next.m[i] = m;
    next.v[i] = v;
    next.theta[i] = theta;
    next.ema[i] = follow * (before.ema[i] ?? NaN) + (1 - follow) * theta;
  });
  return next;
}

it('steps as AdamW does: clipped, warmed up, corrected for its start, averaged', async () => {
  const weights = (name: string): Float32Array =>
    base.trunk.get(name) ?? heads.get(name) ?? new Float32Array();
  const session = await TrainSession.create({ engine, id: 's', options, settings, weights });
  const batch = drawnBatch(options);
  let before = await session.state();
  expect([...before.ema]).toEqual([...before.theta]);
  for (let t = 1; t <= 4; t++) {
    const { gradientNorm } = await session.step(batch);
    const after = await session.state();
    // What was clipped shows in the first moment; how far it was clipped, in its length.
    const gradient = Float64Array.from(
      after.m,
      (m, i) => (m - optimiser.beta1 * (before.m[i] ?? NaN)) / (1 - optimiser.beta1),
    );
    const length = Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0));
    expect(gradientNorm).toBeGreaterThan(optimiser.clip);
    expect(length).toBeCloseTo(optimiser.clip, 5);
    const want = stepped(before, gradient, t);
    for (const name of ['theta', 'v', 'ema'] as const) {
      const worst = after[name].reduce(
        (most, value, i) => Math.max(most, Math.abs(value - (want[name][i] ?? NaN))),
        0,
      );
      expect(worst, `${name} of step ${t}`).toBeLessThan(name === 'v' ? 1e-9 : 2e-5);
    }
    before = after;
  }
  const moved = before.theta.filter((value, i) => value !== before.ema[i]);
  expect(moved.length).toBeGreaterThan(layout.size / 2);
  await session.close();
});
