import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  Graph,
  blockLinear,
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
  });
});
