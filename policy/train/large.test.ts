import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openReference, runOnce } from '../../test/support/tiny-models.ts';
import { TINY_SIGNATURE, tinyOf } from '../../test/support/tiny-large.ts';
import { seeded } from '../data/index.ts';
import { inject, largeGraph } from '../divla/large/index.ts';
import { Engine, type Value, type Values } from '../engine/index.ts';
import { packFlat } from '../nn/index.ts';
import { elements, inputParams, type ParamSpec } from '../nn/params.ts';
import { Graph, toOnnx } from '../tensor/index.ts';
import {
  LARGE_MOVES,
  largeFeatureGraph,
  largeTrainGraph,
  largeTrainable,
  type LargeMode,
} from './large.ts';

const config = tinyOf(
  await openReference('qwen2-vl-tiny', 'folder'),
  await openReference('siglip-tiny', 'folder-full'),
);
const ROWS = 3;
const BETA1 = 0.9;
const optionsOf = (mode: LargeMode) => ({
  config,
  signature: TINY_SIGNATURE,
  mode,
  rows: ROWS,
  lora: { rank: 2, scaling: 1, targets: ['q_proj', 'down_proj'] },
  reasoningWeight: 0.5,
  optimiser: { beta1: BETA1, beta2: 0.95, eps: 1e-8, weightDecay: 0.01, clip: 1e9 },
});

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'train-large' });
});
afterAll(() => engine.close());

function weightOf({ name, shape }: Pick<ParamSpec, 'name' | 'shape'>): Float32Array {
  const random = seeded(3, ...Array.from(name, (letter) => letter.charCodeAt(0)));
  const isNorm = /(norm\d?|layernorm|settled|norm\d)\.weight$/.test(name) && shape.length === 1;
  const fan = shape.length > 1 ? elements(shape.slice(1)) : 16;
  return Float32Array.from(
    { length: elements(shape) },
    () => (isNorm ? 1 : 0) + random.normal() / Math.sqrt(fan),
  );
}

/** Values for every input of a graph: weights by their names, the rest by what it is. */
function feedsOf(graph: Graph, given: Values = {}): Record<string, Value> {
  return Object.fromEntries(
    graph.inputs.map(({ name, tensor: { dtype, shape } }): [string, Value] => {
      const known = given[name];
      if (known !== undefined) return [name, known];
      const random = seeded(9, ...Array.from(name, (letter) => letter.charCodeAt(0)));
      const size = elements(shape);
      if (dtype === 'uint8') {
        return [
          name,
          { dtype, shape, data: Uint8Array.from({ length: size }, () => random.integer(256)) },
        ];
      }
      if (dtype === 'int64') {
        const data = BigInt64Array.from({ length: size }, () => BigInt(5 + random.integer(400)));
        return [name, { dtype, shape, data }];
      }
      if (name.includes('.')) return [name, { dtype, shape, data: weightOf({ name, shape }) }];
      const value: Record<string, (i: number) => number> = {
        // The first row's last two actions are not scored.
        keep: (i) => (i >= 10 && i < 20 ? 0 : 1),
        levels: (i) => [30, 0.88, 0.475][i % 3] ?? NaN,
        voiced: (i) => (i === 1 ? 0 : 1),
        token_mask: () => 1,
        said_mask: (i) => (i % TINY_SIGNATURE.reasoningTokens < 3 ? 1 : 0),
        present: () => 1,
        known: () => 1,
        decay: () => 1,
        learning_rate: () => 0.02,
        correction1: () => 1 / (1 - BETA1),
        correction2: () => 1 / (1 - 0.95),
        ema_decay: () => 0.9,
        m: () => 0,
        v: () => 0,
      };
      const make = value[name] ?? (() => random.normal() / 2);
      return [name, { dtype, shape, data: Float32Array.from({ length: size }, (_, i) => make(i)) }];
    }),
  );
}

const numbers = (value: Value | undefined): number[] => Array.from(value?.data ?? [], Number);

describe.each(['head', 'policy', 'lora'] as const)('mode %s', (mode) => {
  it('moves what it says, along the slope of its loss, and learns', async () => {
    const options = optionsOf(mode);
    const layout = largeTrainable(options);
    const scopes = new Set(layout.specs.map(({ name }) => name.split('.')[0]));
    expect([...scopes].sort()).toEqual(
      [...new Set(LARGE_MOVES[mode].map((scope) => scope.split('.')[0]))].sort(),
    );
    const graph = largeTrainGraph(options);
    await engine.load(mode, toOnnx(graph));
    const theta = packFlat(layout, weightOf);
    const flat = (data: Float32Array): Value => ({ dtype: 'float32', shape: [layout.size], data });
    const feeds = feedsOf(graph, { theta: flat(theta), ema: flat(theta) });
    const run = (change: Values): Promise<Values> => engine.run(mode, { ...feeds, ...change });
    const first = await run({});
    // From rest, the first moment is the gradient's share.
    const slope = numbers(first['next_m']).map((value) => value / (1 - BETA1));
    const random = seeded(21);
    const along = Float32Array.from(theta, () => random.normal());
    const step = 2e-4;
    const lossAt = async (sign: number): Promise<number> => {
      const moved = theta.map((value, i) => value + sign * step * (along[i] ?? NaN));
      return numbers((await run({ theta: flat(moved) }))['loss'])[0] ?? NaN;
    };
    const measured = ((await lossAt(1)) - (await lossAt(-1))) / (2 * step);
    const told = slope.reduce((sum, value, i) => sum + value * (along[i] ?? NaN), 0);
    expect(Math.abs(measured - told)).toBeLessThan(0.03 * Math.max(Math.abs(told), 1));
    // A mean over what is scored: halving every weight leaves it.
    const half = (feeds['keep']!.data as Float32Array).map((value) => value / 2);
    const lighter = await run({ keep: { ...feeds['keep']!, data: half } });
    expect(numbers(lighter['action_loss'])[0]).toBeCloseTo(
      numbers(first['action_loss'])[0] ?? NaN,
      5,
    );
    let state = first;
    for (let i = 0; i < 12; i += 1) {
      const carried = ['theta', 'm', 'v', 'ema'].map((name) => [name, state[`next_${name}`]!]);
      state = await run(Object.fromEntries(carried) as Values);
    }
    expect(numbers(state['loss'])[0]).toBeLessThan(0.9 * (numbers(first['loss'])[0] ?? NaN));
    await engine.unload(mode);
  });
});

it('features of a known reasoning are what saying it comes to', async () => {
  const special = { end: -5, pad: 0 };
  const whole = { config, signature: TINY_SIGNATURE, rows: ROWS, slots: 1, special };
  const reason = largeGraph('reason', whole);
  const said = await runOnce(engine, reason, feedsOf(reason));
  const features = largeFeatureGraph(config, TINY_SIGNATURE, ROWS);
  const known = await runOnce(
    engine,
    features,
    feedsOf(features, {
      said: said['reasoning_tokens']!,
      said_mask: {
        dtype: 'float32',
        shape: [ROWS, TINY_SIGNATURE.reasoningTokens],
        data: new Float32Array(ROWS * TINY_SIGNATURE.reasoningTokens).fill(1),
      },
    }),
  );
  const graph = new Graph('inject');
  const { hidden } = config.language.shape;
  const [pooled, spoken] = ['pooled', 'spoken'].map((name) =>
    graph.input(name, 'float32', [ROWS, hidden]),
  );
  graph.output('reasoning', inject(inputParams(graph), config, pooled!, spoken!));
  const got = await runOnce(engine, graph, feedsOf(graph, known));
  const want = numbers(said['reasoning']);
  numbers(got['reasoning']).forEach((value, i) => {
    expect(Math.abs(value - (want[i] ?? NaN))).toBeLessThan(1e-4);
  });
});
