import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assembledWat } from '../../test/support/assembled-wat.ts';
import { add, div, Graph, mul, reduceSum, toOnnx } from '../tensor/index.ts';
import { AdamWState, type AdamWStart, type AdamWStep } from './adamw.ts';
import { Engine, type Value } from './index.ts';

const rule = { beta1: 0.9, beta2: 0.95, eps: 1e-6, weightDecay: 0.1, clip: 1.5 } as const;

/** Algorithm 2 of Loshchilov and Hutter with clipping and a moving average, in plain numbers. */
function plainly(was: AdamWStart, gradient: ArrayLike<number>, o: AdamWStep): AdamWStart {
  const norm = Math.hypot(...Array.from(gradient));
  const next = { ...was, theta: was.theta.slice(), m: was.m.slice(), v: was.v.slice() };
  next.ema = was.ema.slice();
  for (let i = 0; i < was.theta.length; i++) {
    const g = gradient[i]! * (norm > o.clip ? o.clip / norm : 1);
    next.m[i] = o.beta1 * was.m[i]! + (1 - o.beta1) * g;
    next.v[i] = o.beta2 * was.v[i]! + (1 - o.beta2) * g * g;
    const ahead = next.m[i]! / (1 - o.beta1 ** o.t);
    const spread = Math.sqrt(next.v[i]! / (1 - o.beta2 ** o.t)) + o.eps;
    const pull = o.weightDecay * was.decay[i]! * was.theta[i]!;
    next.theta[i] = was.theta[i]! - o.learningRate * (ahead / spread + pull);
    next.ema[i] = o.emaDecay * was.ema[i]! + (1 - o.emaDecay) * next.theta[i]!;
  }
  return next;
}

const startOf = (theta: readonly number[]): AdamWStart => ({
  theta: Float32Array.from(theta),
  ema: Float32Array.from(theta),
  m: new Float32Array(theta.length),
  v: new Float32Array(theta.length),
  decay: Float32Array.from(theta, (_, i) => i % 2),
});

describe('AdamWState', () => {
  it('steps as the algorithm does, for any number of weights', () => {
    const value = fc.float({ min: -3, max: 3, noNaN: true });
    const weights = fc.array(value, { minLength: 1, maxLength: 70 });
    fc.assert(
      fc.property(weights, fc.integer({ min: 1, max: 1e6 }), (theta, seed) => {
        let want = startOf(theta);
        const state = new AdamWState(want);
        for (let t = 1; t <= 4; t++) {
          const gradient = theta.map((_, i) => 2 * Math.sin(seed * t + 1.7 * i));
          state.vectors.gradient.set(gradient);
          const o = { ...rule, learningRate: 0.01 * t, emaDecay: 0.9 - 0.1 * t, t };
          expect(state.step(o)).toBeCloseTo(Math.hypot(...gradient), 4);
          want = plainly(want, gradient, o);
          for (const name of ['theta', 'm', 'v', 'ema', 'decay'] as const) {
            state.vectors[name].forEach((got, i) => {
              expect(Math.abs(got - want[name][i]!), `${name} ${i}`).toBeLessThan(3e-6);
            });
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  it('says what does not fit', () => {
    const start = startOf([1, 2, 3]);
    expect(() => new AdamWState({ ...start, v: new Float32Array(2) })).toThrow(
      expect.objectContaining({ code: 'bad_value', message: 'v has 2 values, theta has 3' }),
    );
    expect(() => new AdamWState(startOf([]))).toThrow(
      expect.objectContaining({ code: 'bad_value' }),
    );
  });

  // `npx vitest run policy/engine/adamw.test.ts -u` assembles the text anew.
  it('has the pass that its text says', async () => {
    const text = await assembledWat(new URL('adamw.wat', import.meta.url), 'ADAMW_WASM');
    await expect(text).toMatchFileSnapshot('adamw-wasm.ts');
  });
});

describe('Engine.descend', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.start({ threads: 1, name: 'descent' });
  });
  afterAll(() => engine.close());

  const f32 = (data: number[]): Value => ({
    dtype: 'float32',
    shape: [data.length],
    data: Float32Array.from(data),
  });
  const optimiser = { ...rule, learningRate: 0.1, emaDecay: 0.5, t: 1 };

  const parts = [
    { name: 'first', shape: [2], offset: 0 },
    { name: 'last', shape: [1, 1], offset: 2 },
  ];

  /** Half the squared distance of the weights to `goal`; `unused` has no part in it. */
  async function load(id: string): Promise<void> {
    const graph = new Graph(id);
    const [first, last] = parts.map(({ name, shape }) => graph.input(name, 'float32', shape));
    if (first === undefined || last === undefined) throw new Error('there are two parts');
    const goal = graph.input('goal', 'float32', [2]);
    const slopes = { first: add(first, mul(goal, -1)), last: mul(last, 1) };
    const squares = Object.values(slopes).map((slope) => reduceSum(mul(slope, slope)));
    graph.output('loss', div(squares.reduce(add), 2));
    for (const [name, slope] of Object.entries(slopes)) graph.output(`gradient.${name}`, slope);
    await engine.load(id, toOnnx(graph));
  }

  it('moves the weights that are held, and gives back the other outputs alone', async () => {
    await load('there');
    const start = startOf([1, 2, -3, 5]);
    const all = [...parts, { name: 'unused', shape: [1], offset: 3 }];
    await engine.hold('weights', start, all);
    const asked = { keep: 'weights', optimiser };
    const out = await engine.descend('there', { goal: f32([0, 0]) }, asked);
    expect(Object.keys(out).sort()).toEqual(['gradient_norm', 'loss']);
    expect(out['loss']?.data[0]).toBe(7);
    expect(out['gradient_norm']?.data[0]).toBeCloseTo(Math.sqrt(14), 6);
    const want = plainly(start, [1, 2, -3, 0], optimiser);
    const got = await engine.read('weights', ['theta', 'm', 'v', 'ema']);
    for (const name of ['theta', 'm', 'v', 'ema'] as const) {
      got[name]?.data.forEach((value, i) => {
        expect(Number(value)).toBeCloseTo(want[name][i]!, 6);
      });
    }
    expect([...start.theta]).toEqual([1, 2, -3, 5]);
  });

  it('leaves weights as they were where a run fails, and refuses what is not held', async () => {
    await load('fails');
    await engine.hold('kept', startOf([1, 2, -3]), parts);
    const asked = { keep: 'kept', optimiser };
    await expect(engine.descend('fails', { goal: f32([0]) }, asked)).rejects.toMatchObject({
      code: 'run_failed',
    });
    expect((await engine.read('kept', ['theta']))['theta']?.data).toEqual(
      Float32Array.of(1, 2, -3),
    );
    const refused = { code: 'unknown_resident' };
    await engine.drop('kept');
    await expect(engine.descend('fails', { goal: f32([0, 0]) }, asked)).rejects.toMatchObject(
      refused,
    );
    await engine.put('kept', { theta: f32([1, 2, -3]) });
    await expect(engine.descend('fails', { goal: f32([0, 0]) }, asked)).rejects.toMatchObject(
      refused,
    );
  });

  it('refuses a part that lies beyond the weights', async () => {
    const beyond = [{ name: 'last', shape: [2], offset: 2 }];
    await expect(engine.hold('w', startOf([1, 2, 3]), beyond)).rejects.toMatchObject({
      code: 'bad_value',
      message: 'last ends at 4 of 3',
    });
  });
});
