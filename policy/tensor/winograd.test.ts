import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seeded } from '../data/index.ts';
import { Engine, type Values } from '../engine/index.ts';
import { concat, conv1d, conv2d, gradients, Graph, slice, toOnnx, type Tensor } from './index.ts';
import { build, type NdArray } from './testing/array.ts';
import { evaluate } from './testing/reference.ts';
import { paysInTiles, tiledConv1d, tiledConv2d, type Axis } from './winograd.ts';

/** In tiles or window by window: a convolution is the same, and so are its gradients. */

const axes = fc
  .record({
    kernel: fc.integer({ min: 2, max: 5 }),
    padding: fc.nat(4),
    from: fc.integer({ min: 1, max: 11 }),
  })
  .map(({ kernel, padding, from }) => ({
    kernel,
    padding: Math.min(padding, kernel - 1),
    from,
    to: from + 2 * Math.min(padding, kernel - 1) - kernel + 1,
  }))
  .filter(({ to }) => to >= 1);
const sizes = fc.record({
  batch: fc.integer({ min: 1, max: 3 }),
  inner: fc.integer({ min: 1, max: 3 }),
  features: fc.integer({ min: 1, max: 3 }),
  seed: fc.nat(1000),
});

/** y and the gradients to x and w that random slopes of y give, in float64. */
function worked(
  shapes: { readonly x: readonly number[]; readonly w: readonly number[] },
  seed: number,
  make: (x: Tensor, w: Tensor) => Tensor,
): readonly NdArray[] {
  const graph = new Graph();
  const [x, w] = [graph.input('x', 'float32', shapes.x), graph.input('w', 'float32', shapes.w)];
  const of = make(x, w);
  const upstream = graph.input('dy', 'float32', of.shape);
  const random = seeded(seed);
  const drawn = (shape: readonly number[]): NdArray => build(shape, () => random.normal());
  const feeds = { x: drawn(x.shape), w: drawn(w.shape), dy: drawn(of.shape) };
  return evaluate(graph, feeds, [of, ...gradients({ of, upstream }, [x, w])]);
}

/** The matrices are float32, and so is what they differ by. */
function expectSame(found: readonly NdArray[], direct: readonly NdArray[]): void {
  found.forEach(({ shape, data }, i) => {
    const other = direct[i] as NdArray;
    expect(shape).toEqual(other.shape);
    const most = other.data.reduce((a, value) => Math.max(a, Math.abs(value)), 1);
    data.forEach((value, at) => {
      expect(Math.abs(value - (other.data[at] ?? NaN)) / most).toBeLessThan(5e-6);
    });
  });
}

describe('in tiles', () => {
  it('a convolution over a sequence is that of its windows', () => {
    fc.assert(
      fc.property(axes, sizes, (axis, { batch, inner, features, seed }) => {
        const shapes = { x: [batch, axis.from, inner], w: [axis.kernel, inner, features] };
        expectSame(
          worked(shapes, seed, (x, w) => tiledConv1d(x, w, axis)),
          worked(shapes, seed, (x, w) => conv1d(x, w, { padding: axis.padding })),
        );
      }),
      { numRuns: 60, seed: 11 },
    );
  });

  it('a convolution over pictures is that of its windows', () => {
    fc.assert(
      fc.property(axes, fc.integer({ min: 1, max: 9 }), sizes, (down, width, some) => {
        const { batch, inner, features, seed } = some;
        const { kernel, padding } = down;
        const across: Axis = { ...down, from: width, to: width + 2 * padding - kernel + 1 };
        fc.pre(across.to >= 1);
        const [x, w] = [
          [batch, down.from, width, inner],
          [kernel, kernel, inner, features],
        ] as const;
        // The windows' own way needs windows that fit.
        fc.pre(Math.min(down.from, width) + 2 * padding >= kernel);
        expectSame(
          worked({ x, w }, seed, (a, b) => tiledConv2d(a, b, down, across)),
          worked({ x, w }, seed, (a, b) => conv2d(a, b, { padding })),
        );
      }),
      { numRuns: 40, seed: 12 },
    );
  });
});

describe('in the runtime', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.start({ threads: 2, name: 'winograd' });
  });
  afterAll(() => engine.close());

  const cases = {
    'kernel 5 over 16 positions': {
      shapes: { x: [64, 16, 64], w: [5, 64, 32], bias: [32] },
      make: (x: Tensor, weight: Tensor, bias: Tensor) => conv1d(x, weight, { padding: 2, bias }),
    },
    'kernel 3 × 3 over 16 × 16 cells': {
      shapes: { x: [16, 16, 16, 32], w: [3, 3, 32, 64], bias: [64] },
      make: (x: Tensor, weight: Tensor, bias: Tensor) => conv2d(x, weight, { padding: 1, bias }),
    },
  };

  it.each(Object.entries(cases))('%s in float32 is that of single samples', async (_, one) => {
    const { shapes, make } = one;
    const random = seeded(5);
    const built = (parts: number): Graph => {
      const graph = new Graph(`parts of ${parts}`);
      const given = Object.entries(shapes).map(([name, shape]) =>
        graph.input(name, 'float32', shape),
      ) as [Tensor, Tensor, Tensor];
      const [x, w, bias] = given;
      const each = (x.shape[0] ?? NaN) / parts;
      const y = concat(
        Array.from({ length: parts }, (__, i) =>
          make(slice(x, 0, i * each, (i + 1) * each), w, bias),
        ),
        0,
      );
      const upstream = graph.input('dy', 'float32', y.shape);
      graph.output('y', y);
      gradients({ of: y, upstream }, given).forEach((slope, i) => {
        graph.output(`gradient ${i}`, slope);
      });
      return graph;
    };
    const [whole, parts] = [built(1), built(shapes.x[0] ?? NaN)];
    const [fewer, more] = [whole, parts].map((graph) => multiplications(graph)) as [number, number];
    expect(fewer).toBeLessThan(0.65 * more);
    const inputs: Values = Object.fromEntries(
      whole.inputs.map(({ name, tensor }) => {
        const size = tensor.shape.reduce((a, b) => a * b, 1);
        const data = Float32Array.from({ length: size }, () => random.normal());
        return [name, { dtype: 'float32', shape: tensor.shape, data }];
      }),
    );
    await engine.load('whole', toOnnx(whole));
    await engine.load('parts', toOnnx(parts));
    const [found, direct] = [await engine.run('whole', inputs), await engine.run('parts', inputs)];
    for (const [name, { data }] of Object.entries(direct)) {
      const values = found[name]?.data as Float32Array;
      const most = (data as Float32Array).reduce((a, value) => Math.max(a, Math.abs(value)), 0);
      const apart = values.reduce(
        (a, value, i) => Math.max(a, Math.abs(value - Number(data[i]))),
        0,
      );
      expect(values).toHaveLength(data.length);
      expect(most, name).toBeGreaterThan(1);
      expect(apart / most, name).toBeLessThan(1e-5);
    }
    await engine.unload('whole');
    await engine.unload('parts');
  });
});

/** Of all matrix products of a graph. */
function multiplications(graph: Graph): number {
  const products = graph.nodes.filter(({ op }) => op === 'MatMul' || op === 'Gemm');
  return products.reduce((sum, { inputs, outputs, attributes }) => {
    const a = inputs[0]?.shape ?? [];
    const made = (outputs[0]?.shape ?? []).reduce((x, y) => x * y, 1);
    const isTurned = (attributes['transA'] as { int?: number } | undefined)?.int === 1;
    return sum + made * (a.at(isTurned ? -2 : -1) ?? NaN);
  }, 0);
}

describe('tiles are taken', () => {
  const five: Axis = { kernel: 5, padding: 2, from: 16, to: 16 };
  const taken = (shape: number[], axis: Axis, options = {}, features = 64): boolean =>
    paysInTiles(
      new Graph('', undefined, options).input('x', 'float32', shape),
      shape.length === 4 ? [axis, axis] : [axis],
      features,
    );

  it('where a batch is large, and only where gradients are made', () => {
    expect(taken([64, 16, 64], five)).toBe(true);
    expect(taken([64, 16, 64], five, { inference: true })).toBe(false);
    expect(taken([63, 16, 64], five)).toBe(false);
    expect(taken([64, 16, 31], five)).toBe(false);
    expect(taken([64, 16, 64], five, {}, 31)).toBe(false);
  });

  it('where they save half of the multiplications', () => {
    const narrow: Axis = { kernel: 3, padding: 1, from: 16, to: 16 };
    expect(taken([64, 16, 64], narrow)).toBe(true);
    expect(taken([64, 16, 16, 64], narrow)).toBe(true);
    expect(taken([400, 5, 64], { ...narrow, from: 5, to: 5 })).toBe(false);
    expect(taken([400, 16, 64], { kernel: 6, padding: 2, from: 16, to: 15 })).toBe(false);
    expect(taken([400, 16, 64], { kernel: 1, padding: 0, from: 16, to: 16 })).toBe(false);
  });
});
