import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  Graph,
  blockLinear,
  blockValues,
  int8Linear,
  quantizeBlocks,
  quantizeColumns,
  toOnnx,
} from '../tensor/index.ts';
import { Engine } from './index.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'quantized' });
});
afterAll(() => engine.close());

const [batch, inner, features] = [5, 64, 48];
const wave = (n: number, f: number) =>
  Float32Array.from({ length: n }, (_, i) => Math.sin(f * i * i));
const x = wave(batch * inner, 0.37);
const w = wave(features * inner, 0.11);
const feeds = { x: { dtype: 'float32', shape: [batch, inner], data: x } } as const;

/** x·wᵀ for w [out, in], plus a bias, in float64. */
function exact(bias: (o: number) => number): number[] {
  return Array.from({ length: batch * features }, (_, n) => {
    const [b, o] = [Math.floor(n / features), n % features];
    let sum = bias(o);
    for (let i = 0; i < inner; i += 1) sum += (x[b * inner + i] ?? 0) * (w[o * inner + i] ?? 0);
    return sum;
  });
}

/** Mean absolute error over the mean absolute value. */
function relativeError(
  got: ArrayLike<number | bigint> | undefined,
  want: readonly number[],
): number {
  const errors = want.map((v, i) => Math.abs(Number(got?.[i]) - v));
  const sum = (xs: readonly number[]) => xs.reduce((a, b) => a + Math.abs(b), 0);
  return sum(errors) / sum(want);
}

describe('quantised products', () => {
  it('stay within about a percent with int8 weights', async () => {
    const turned = Float32Array.from(
      { length: inner * features },
      (_, n) => w[(n % features) * inner + Math.floor(n / features)] ?? 0,
    );
    const q = quantizeColumns(turned, [inner, features]);
    for (const withBias of [false, true]) {
      const g = new Graph();
      const bias = withBias
        ? g.constant(Float32Array.from({ length: features }, (_, o) => o / 10))
        : undefined;
      const y = int8Linear(
        g.input('x', 'float32', [batch, inner]),
        g.constant(q.data, [inner, features]),
        g.constant(q.scales),
        bias,
      );
      g.output('y', y);
      const id = `int8 ${withBias}`;
      await engine.load(id, toOnnx(g));
      const result = await engine.run(id, feeds);
      expect(
        relativeError(
          result['y']?.data,
          exact((o) => (withBias ? o / 10 : 0)),
        ),
      ).toBeLessThan(0.015);
    }
  });

  it.each([
    [8, 0.012],
    [4, 0.15],
  ] as const)('stay within bounds with %i-bit blocks', async (bits, bound) => {
    const q = quantizeBlocks(w, [features, inner], bits);
    const g = new Graph();
    const data = g.constant(q.data, [features, inner / 32, (32 * bits) / 8]);
    const layout = { bits, block: q.block, columns: features };
    g.output(
      'y',
      blockLinear(g.input('x', 'float32', [batch, inner]), data, g.constant(q.scales), layout),
    );
    await engine.load(`blocks ${bits}`, toOnnx(g));
    const result = await engine.run(`blocks ${bits}`, feeds);
    const error = relativeError(
      result['y']?.data,
      exact(() => 0),
    );
    expect(error).toBeLessThan(bound);
    expect(error).toBeGreaterThan(0);
    // Half a step, or a whole one at the end that has one level less.
    blockValues(q).forEach((value, i) => {
      const scale = Math.abs(q.scales[Math.floor(i / q.block)] ?? NaN);
      expect(Math.abs(value - (w[i] ?? NaN))).toBeLessThanOrEqual(1.001 * scale);
    });
  });

  it('in blocks give a row the same whatever rows are beside it, with a bias', async () => {
    const q = quantizeBlocks(w, [features, inner], 8);
    const bias = Float32Array.from({ length: features }, (_, o) => o / 10);
    const of = async (rows: number, data: Float32Array): Promise<Float32Array> => {
      const g = new Graph();
      const packed = g.constant(q.data, [features, inner / 32, 32]);
      const layout = { bits: 8, block: q.block, columns: features } as const;
      const given = g.input('x', 'float32', [rows, inner]);
      g.output('y', blockLinear(given, packed, g.constant(q.scales), layout, g.constant(bias)));
      await engine.load(`${rows} rows`, toOnnx(g));
      const shape = [rows, inner];
      const result = await engine.run(`${rows} rows`, { x: { dtype: 'float32', shape, data } });
      return result['y']?.data.slice(0, features) as Float32Array;
    };
    const alone = await of(1, x.slice(0, inner));
    const first = exact((o) => o / 10).slice(0, features);
    expect(relativeError(alone, first)).toBeLessThan(0.012);
    const neighbours = x.map((value, i) => (i < inner ? value : 50 * value));
    const beside = await of(batch, neighbours);
    beside.forEach((value, o) => {
      expect(value).toBeCloseTo(alone[o] ?? NaN, 5);
    });
  });
});
