import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Engine, type Value, type Values } from '../engine/index.ts';
import { flatLayout } from '../nn/flat.ts';
import { initialValues } from '../nn/params.ts';
import { shippedBase } from '../../test/support/small-policy.ts';
import { drawnBatch } from '../../test/support/train-batch.ts';
import { trainGraph, type TrainGraphOptions } from './graph.ts';
import { spokenPlace } from './passes.ts';
import { TrainSession } from './session.ts';

/** A batch in shares moves the weights as the whole batch does. */

const base = shippedBase();
const { config } = base;
const [PICTURES, HORIZON, SPOKEN] = [16, 8, 8];
const heads = new Map(base.headSpecs.map((spec) => [spec.name, initialValues(spec, 2)]));
const weightOf = (name: string): Float32Array =>
  base.trunk.get(name) ?? heads.get(name) ?? new Float32Array();

const common = {
  config,
  signature: { external: 1, wrist: 0, width: 32, height: 32, horizon: HORIZON },
  pictures: PICTURES,
  instructions: 1,
  draws: 2,
  prefixed: true,
  from: 'images',
  reasoningWeight: 0.5,
  groundingWeight: 2,
  optimiser: { beta1: 0.9, beta2: 0.98, eps: 1e-8, clip: 1e6, weightDecay: 0 },
} as const;

const wholeOptions = (passes: number, slots: number): TrainGraphOptions => {
  const specs = [
    ...base.trunkSpecs,
    ...base.headSpecs.map((spec) => ({
      ...spec,
      shape: slots === 1 ? spec.shape : [slots, ...spec.shape],
    })),
  ];
  return { ...common, trainable: flatLayout(specs), passes, slots, spoken: SPOKEN };
};

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 2, name: 'passes' });
});
afterAll(() => engine.close());

/** Losses and the gradient of one step, as the first moment has it. */
async function stepped(options: TrainGraphOptions, batch: Values) {
  const session = await TrainSession.create({
    engine,
    id: `passes ${options.passes}`,
    options,
    settings: { peakRate: 1e-3, warmup: 0, totalSteps: 10, rateFloor: 1, emaDecay: 0.9 },
    weights: (name) => {
      const spec = options.trainable.specs.find((s) => s.name === name);
      const values = weightOf(name);
      const copies = (spec?.shape.reduce((a, b) => a * b, 1) ?? values.length) / values.length;
      return Float32Array.from(
        { length: values.length * copies },
        (_, i) => values[i % values.length] ?? NaN,
      );
    },
  });
  const result = await session.step(batch);
  const { m } = await session.state();
  await session.close();
  return { result, gradient: m.map((value) => value / 0.1) };
}

describe.each([1, 2])('with %i slots', (slots) => {
  const whole = wholeOptions(1, slots);
  const batch = drawnBatch(whole);
  let expected: Awaited<ReturnType<typeof stepped>>;
  beforeAll(async () => {
    expected = await stepped(whole, batch);
  });

  it.each([2, 4])('%i passes sum up to the whole batch', async (passes) => {
    const options = wholeOptions(passes, slots);
    const got = await stepped(options, reordered(batch, options, passes));
    expect(got.result.actionLoss).toBeCloseTo(expected.result.actionLoss, 5);
    expect(got.result.reasoningLoss).toBeCloseTo(expected.result.reasoningLoss, 5);
    expect(got.result.groundingLoss).toBeCloseTo(expected.result.groundingLoss, 5);
    const largest = expected.gradient.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const apart = got.gradient.reduce(
      (most, value, i) => Math.max(most, Math.abs(value - (expected.gradient[i] ?? NaN))),
      0,
    );
    expect(largest).toBeGreaterThan(1e-3);
    expect(apart / largest).toBeLessThan(1e-4);
  });
});

/** The same rows in the order in which passes meet the spoken ones: each pass takes its share of them first. */
function reordered(
  batch: Values,
  { slots, pictures }: TrainGraphOptions,
  passes: number,
): Record<string, Value> {
  const rows = pictures / slots;
  let silent = SPOKEN;
  const sources = Array.from(
    { length: rows },
    (_, row) => spokenPlace(row, { rows, spoken: SPOKEN, passes }) ?? silent++,
  );
  const order = Array.from({ length: slots }, (_, slot) =>
    sources.map((source) => slot * rows + source),
  ).flat();
  return Object.fromEntries(
    Object.entries(batch).map(([name, value]) =>
      /^(said|said_mask|labels)$/.test(name) ? [name, value] : [name, taken(value, order)],
    ),
  );
}

/** The value's rows in another order; a row may hold several entries of its first axis. */
function taken(value: Value, order: readonly number[]): Value {
  const data = value.data.slice();
  const [from, to] = [value.data, data].map(
    ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
  ) as [Uint8Array, Uint8Array];
  const width = from.length / order.length;
  order.forEach((row, i) => to.set(from.subarray(row * width, (row + 1) * width), i * width));
  return { ...value, data };
}

it('refuses passes that do not divide the batch', () => {
  expect(() => trainGraph(wholeOptions(3, 1))).toThrow(/do not divide into 3 passes/);
});
