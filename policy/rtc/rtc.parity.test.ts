import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readFixtureJson } from '../../test/support/fixtures.ts';
import { holdClose, readReference, toleranceOf } from '../../test/support/parity.ts';
import { feedOf, runOnce } from '../../test/support/tiny-models.ts';
import { toFloat32 } from '../checkpoint/index.ts';
import { Engine, type Value, type Values } from '../engine/index.ts';
import {
  Graph,
  add,
  concat,
  expand,
  gather,
  linear,
  loop,
  matmul,
  mul,
  reshape,
  slice,
  sub,
  type Tensor,
} from '../tensor/index.ts';
import {
  flowSample,
  guidanceWeight,
  guidedVelocity,
  paddedChunk,
  prefixMask,
  prefixWeights,
  pulledBack,
  type Correction,
  type FlowGuide,
  type PrefixSchedule,
  type Velocity,
} from './index.ts';

interface Step {
  name: string;
  schedule: string;
  inference_delay: number;
  execution_horizon: number;
  max_guidance_weight: number;
  time: number;
  previous_length: number;
  previous_dim: number;
}

interface Meta {
  prefix_weights: {
    cases: {
      tensor: string;
      schedule: PrefixSchedule;
      start: number;
      end: number;
      total: number;
    }[];
  };
  guided: { steps: Step[]; 'sample_lerobot.x, sample_full.x': string };
  tolerance: Record<string, number>;
}

const meta = (await readFixtureJson('rtc', 'meta.json')) as Meta;
const weights = await readReference('rtc', 'prefix_weights.safetensors');
const guided = await readReference('rtc', 'guided.safetensors');
const [batch = 0, length = 0, actions = 0] = guided.at('noise').shape;
const label = (quantity: string, detail: string) => ({ fixture: 'rtc', quantity, detail });
/** Of weights between 0 and 1, which the reference makes in float32. */
const WEIGHT_TOLERANCE = 4e-6;

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'rtc' });
});
afterAll(() => engine.close());

it('prefix weights are those of the reference', () => {
  expect(meta.prefix_weights.cases.length).toBeGreaterThan(0);
  for (const { tensor, schedule, start, end, total } of meta.prefix_weights.cases) {
    const data = prefixWeights(schedule, start, end, total);
    const want = weights.at(tensor);
    const got = { shape: [total], data };
    holdClose(label(`weights ${schedule}`, tensor), got, want, WEIGHT_TOLERANCE);
  }
});

/** The reference's linear network as a graph, with its inputs. */
function toy(graph: Graph): { noise: Tensor; previous: Tensor; velocity: Velocity } {
  const input = (name: string): Tensor => graph.input(name, 'float32', guided.at(name).shape);
  const [mix, weight, bias] = [input('mix'), input('weight'), input('bias')];
  return {
    noise: input('noise'),
    previous: input('previous'),
    velocity(x, time) {
      const moved = linear(matmul(mix, x), weight, undefined, { weight: 'io' });
      return add(moved, mul(reshape(time, [batch, length, 1]), bias));
    },
  };
}

const feeds: Values = Object.fromEntries(
  ['mix', 'weight', 'bias', 'noise', 'previous'].map((name) => [name, feedOf(guided.at(name))]),
);

function guideOf(
  graph: Graph,
  previous: Tensor,
  own: number,
  step: Pick<Step, 'schedule' | 'inference_delay' | 'execution_horizon' | 'max_guidance_weight'>,
  correction: Correction,
): FlowGuide {
  const end = Math.min(step.execution_horizon, own);
  const schedule = step.schedule.toLowerCase() as PrefixSchedule;
  return {
    previous,
    weights: graph.constant(prefixWeights(schedule, step.inference_delay, end, length), [
      1,
      length,
    ]),
    most: step.max_guidance_weight,
    correction,
  };
}

describe.each(meta.guided.steps)('$name ($schedule at $time)', (step) => {
  it('is turned as the reference turns it, directly and through the network', async () => {
    const graph = new Graph('step');
    const { noise, previous, velocity } = toy(graph);
    const left = slice(slice(previous, 1, 0, step.previous_length), 2, 0, step.previous_dim);
    const padded = paddedChunk(left, length, actions);
    const [direct, full] = (['direct', 'pulled-back'] as const).map((correction) =>
      guidedVelocity(
        noise,
        step.time,
        velocity,
        guideOf(graph, padded, step.previous_length, step, correction),
      ),
    );
    if (direct === undefined || full === undefined) throw new RangeError('two corrections');
    graph.output('v', direct.plain);
    graph.output('x1', direct.clean);
    graph.output('error', direct.error);
    graph.output('guided_v', direct.guided);
    graph.output('correction_full', full.correction);
    graph.output('guided_v_full', full.guided);
    const results: Values = {
      ...(await runOnce(engine, graph, feeds)),
      weights: numbers(
        [length],
        [
          ...prefixWeights(
            step.schedule.toLowerCase() as PrefixSchedule,
            step.inference_delay,
            Math.min(step.execution_horizon, step.previous_length),
            length,
          ),
        ],
      ),
      guidance_weight: numbers([], [guidanceWeight(step.time, step.max_guidance_weight)]),
    };
    for (const [name, got] of Object.entries(results)) {
      const key = `${step.name}.${name}`;
      const quantity = name.includes('full') ? 'pulled-back step' : 'guided step';
      holdClose(label(quantity, key), got, guided.at(key), toleranceOf(meta.tolerance, key));
    }
  });
});

function numbers(shape: number[], data: number[]): Value {
  return { dtype: 'float32', shape, data: Float32Array.from(data) };
}

/** The settings of the whole samples, which the reference tells in words. */
function sampleSettings() {
  const words = meta.guided['sample_lerobot.x, sample_full.x'];
  const found = /(\d+) steps, (\w+), delay (\d+), horizon (\d+), beta (\d+)/.exec(words);
  if (found === null) throw new RangeError(`no settings in: ${words}`);
  const [, steps, schedule = '', delay, horizon, most] = found;
  return {
    steps: Number(steps),
    schedule,
    inference_delay: Number(delay),
    execution_horizon: Number(horizon),
    max_guidance_weight: Number(most),
  };
}

it.each([
  ['sample_lerobot.x', 'direct'],
  ['sample_full.x', 'pulled-back'],
] as const)('%s, a whole sample', async (name, correction) => {
  const settings = sampleSettings();
  const graph = new Graph('sample');
  const { noise, previous, velocity } = toy(graph);
  const guide = guideOf(graph, previous, length, settings, correction);
  const chain = flowSample(noise, velocity, { steps: settings.steps, guide });
  const stacked = chain.map((x) => reshape(x, [1, batch, length, actions]));
  graph.output('x', concat(stacked, 0));
  const { x } = await runOnce(engine, graph, feeds);
  holdClose(label('samples', name), x, guided.at(name), toleranceOf(meta.tolerance, name));
});

it('a sample without guidance, and with a hard prefix', async () => {
  const { steps } = sampleSettings();
  const graph = new Graph('plain');
  const { noise, previous, velocity } = toy(graph);
  const delay = 3;
  const delays = Array.from({ length: batch }, () => delay);
  const mask = graph.constant(prefixMask(delays, length), [batch, length]);
  graph.output('plain', flowSample(noise, velocity, { steps }).at(-1) ?? noise);
  const hard = flowSample(noise, velocity, { steps, prefix: { previous, mask } });
  graph.output('hard', hard.at(-1) ?? noise);
  const { plain, hard: held } = await runOnce(engine, graph, feeds);
  const name = 'sample_unguided';
  holdClose(label('samples', name), plain, guided.at(name), toleranceOf(meta.tolerance, name));
  const want = toFloat32(guided.at('previous'));
  const inside = (i: number): boolean => Math.floor(i / actions) % length < delay;
  const got = held?.data as Float32Array;
  expect(got.filter((value, i) => inside(i) && value !== want[i])).toHaveLength(0);
  expect(got.some((value, i) => !inside(i) && value !== plain?.data[i])).toBe(true);
});

it('sample_full.x, with its steps in a loop of the graph as serving has them', async () => {
  const settings = sampleSettings();
  const { steps } = settings;
  const graph = new Graph('loop');
  const { noise, previous, velocity } = toy(graph);
  const guide = guideOf(graph, previous, length, settings, 'pulled-back');
  const times = Array.from({ length: steps }, (_, k) => 1 - k / steps);
  const table = graph.constant(
    times.flatMap((time) => [time, guidanceWeight(time, guide.most)]),
    [steps, 2],
  );
  const held = reshape(guide.weights, [1, length, 1]);
  const { carried } = loop(graph, {
    trips: steps,
    carried: [noise],
    body: (_, i, [x]) => {
      if (x === undefined) throw new RangeError('the sampler carries the chunk');
      const [time, factor] = [0, 1].map((column) => slice(gather(table, i), 0, column, column + 1));
      if (time === undefined || factor === undefined) throw new RangeError('two columns');
      const plain = velocity(x, expand(reshape(time, [1, 1]), [batch, length]));
      const clean = sub(x, mul(plain, time));
      const slope = pulledBack(clean, x, mul(sub(guide.previous, clean), held));
      return { carried: [add(x, mul(sub(plain, mul(slope, factor)), -1 / steps))] };
    },
  });
  const [end] = carried;
  if (end === undefined) throw new RangeError('the loop gave no chunk');
  graph.output('x', end);
  const got = (await runOnce(engine, graph, feeds))['x'];
  const want = guided.at('sample_full.x');
  const last = batch * length * actions;
  const expected = numbers([batch, length, actions], [...toFloat32(want).slice(-last)]);
  const tolerance = toleranceOf(meta.tolerance, 'sample_full.x');
  holdClose(label('pulled-back sample', 'in a loop'), got, expected, tolerance);
});
