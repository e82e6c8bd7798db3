import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  Graph,
  add,
  attention,
  concat,
  equal,
  gather,
  argmax,
  loop,
  matmul,
  mul,
  reshape,
  toOnnx,
} from '../tensor/index.ts';
import type { Tensor } from '../tensor/index.ts';
import { Engine } from './index.ts';
import type { Value } from './index.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'loops' });
});
afterAll(() => engine.close());

const f32 = (shape: number[], data: number[]): Value => ({
  dtype: 'float32',
  shape,
  data: Float32Array.from(data),
});

function only<T>(items: readonly T[]): T {
  const [item] = items;
  if (item === undefined) throw new Error('nothing there');
  return item;
}

describe('loop', () => {
  it('carries, stacks, and reads tensors of the surrounding graph, inputs among them', async () => {
    const g = new Graph();
    const w = g.input('w', 'float32', [2, 2]);
    const doubled = mul(w, 2);
    const { carried, scan } = loop(g, {
      trips: 3,
      carried: [g.constant([1, 0], [1, 2])],
      body: (_, __, state) => {
        const next = add(matmul(only(state), doubled), mul(w, 0));
        const row = reshape(next, [-1]);
        return { carried: [matmul(g.constant([1, 0], [1, 2]), next)], scan: [row] };
      },
    });
    expect(only(scan).shape).toEqual([3, 4]);
    g.output('last', only(carried));
    g.output('all', only(scan));
    await engine.load('powers', toOnnx(g));
    const { last, all } = await engine.run('powers', { w: f32([2, 2], [1, 1, 0, 1]) });
    // [1 0]·(2·[[1 1][0 1]])^3 = 8·[1 3]
    expect([...(last?.data ?? [])]).toEqual([8, 24]);
    expect(all?.shape).toEqual([3, 4]);
  });

  it('stops when told, with a number of trips from an input', async () => {
    const g = new Graph();
    const trips = g.input('trips', 'int64', []);
    const { carried, scan } = loop(g, {
      trips,
      carried: [g.constant(0)],
      body: (_, i, state) => {
        const next = add(only(state), 1);
        return { carried: [next], scan: [i], stop: equal(next, 4) };
      },
    });
    g.output('count', only(carried));
    g.output('trip', only(scan));
    await engine.load('stopping', toOnnx(g));
    const run = async (n: bigint) => {
      const feeds = { trips: { dtype: 'int64', shape: [], data: BigInt64Array.of(n) } } as const;
      return engine.run('stopping', feeds);
    };
    expect((await run(9n))['count']?.data[0]).toBe(4);
    expect((await run(9n))['trip']?.data).toEqual(BigInt64Array.of(0n, 1n, 2n, 3n));
    expect((await run(2n))['count']?.data[0]).toBe(2);
  });

  it('decodes with a cache that grows as one call over the whole sequence does', async () => {
    const [width, steps] = [4, 5];
    const table = Float32Array.from({ length: 6 * width }, (_, i) => Math.sin(1.7 * i));
    const heads = (x: Tensor, n: number) => reshape(x, [1, 1, n, width]);
    const next = (g: Graph, attended: Tensor) =>
      argmax(
        matmul(
          reshape(attended, [-1, width]),
          reshape(
            g.constant(Float32Array.from({ length: width * 6 }, (_, i) => Math.cos(2.3 * i))),
            [width, 6],
          ),
        ),
        1,
      );

    const decode = new Graph();
    const embedding = decode.constant(table, [6, width]);
    const { scan } = loop(decode, {
      trips: steps,
      carried: [
        decode.constant([1], [1], 'int64'),
        decode.constant(new Float32Array(0), [1, 1, 0, width]),
      ],
      grows: { 1: 2 },
      body: (_, __, [token, cache]) => {
        if (token === undefined || cache === undefined) throw new Error('two carried tensors');
        const x = heads(gather(embedding, token), 1);
        const keys = concat([cache, x], 2);
        const following = next(decode, attention(x, keys, keys));
        return { carried: [following, keys], scan: [following] };
      },
    });
    decode.output('tokens', only(scan));
    await engine.load('decode', toOnnx(decode));
    const { tokens } = await engine.run('decode', {});
    const found = [...(tokens?.data ?? [])].map(Number);
    expect(found).toHaveLength(steps);

    const whole = new Graph();
    const ids = whole.input('ids', 'int64', [steps]);
    const x = heads(gather(whole.constant(table, [6, width]), ids), steps);
    whole.output('next', next(whole, attention(x, x, x, { causal: true })));
    await engine.load('whole', toOnnx(whole));
    const fed = BigInt64Array.from([1, ...found.slice(0, -1)], BigInt);
    const result = await engine.run('whole', {
      ids: { dtype: 'int64', shape: [steps], data: fed },
    });
    expect([...(result['next']?.data ?? [])].map(Number)).toEqual(found);
  });
});
