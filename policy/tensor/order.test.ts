import { afterAll, beforeAll, expect, it } from 'vitest';
import { seeded } from '../data/index.ts';
import { Engine, type Values } from '../engine/index.ts';
import {
  add,
  concat,
  conv2d,
  gradients,
  Graph,
  layerNorm,
  linear,
  mul,
  reduceSum,
  reshape,
  slice,
  toOnnx,
  type Tensor,
} from './index.ts';
import { after } from './order.ts';

/** How large layers are computed, and in which order, changes nothing of what they give. */

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 2, name: 'order' });
});
afterAll(() => engine.close());

const WEIGHTS = { w: [32, 8], b: [32], conv: [3, 3, 32, 32], gain: [32], shift: [32] } as const;

/** Gradients of a small network over [64, 16, 16, 8], whole (its layers are large) or in parts that are not. */
function network(parts: number): Graph {
  const graph = new Graph(`parts of ${parts}`);
  const x = graph.input('x', 'float32', [64, 16, 16, 8]);
  const weights = Object.entries(WEIGHTS).map(([name, shape]) =>
    graph.input(name, 'float32', shape),
  ) as [Tensor, Tensor, Tensor, Tensor, Tensor];
  const [w, b, conv, gain, shift] = weights;
  const size = 64 / parts;
  const each = Array.from({ length: parts }, (_, i) => {
    const some = slice(x, 0, i * size, (i + 1) * size);
    const y = conv2d(linear(some, w, b), conv, { padding: 1, bias: b });
    const normed = layerNorm(mul(y, y), { weight: gain, bias: shift }, { eps: 1e-5 });
    return mul(normed, add(normed, y));
  });
  const loss = reduceSum(concat(each, 0));
  const found = gradients(loss, [...weights, x]);
  [...Object.keys(WEIGHTS), 'x'].forEach((name, i) =>
    graph.output(`of ${name}`, found[i] as Tensor),
  );
  return graph;
}

it('gradients of large layers are those of their parts', async () => {
  const random = seeded(6);
  const inputs: Values = Object.fromEntries(
    Object.entries({ ...WEIGHTS, x: [64, 16, 16, 8] }).map(([name, shape]) => {
      const size = shape.reduce((a, b) => a * b, 1);
      const data = Float32Array.from({ length: size }, () => random.normal() / 4);
      return [name, { dtype: 'float32', shape, data }];
    }),
  );
  await engine.load('whole', toOnnx(network(1)));
  await engine.load('parts', toOnnx(network(64)));
  const [whole, parts] = [await engine.run('whole', inputs), await engine.run('parts', inputs)];
  for (const [name, { data }] of Object.entries(whole)) {
    const other = parts[name]?.data as Float32Array;
    const most = (data as Float32Array).reduce((a, value) => Math.max(a, Math.abs(value)), 0);
    const apart = (data as Float32Array).reduce(
      (a, value, i) => Math.max(a, Math.abs(value - (other[i] ?? NaN))),
      0,
    );
    expect(most, name).toBeGreaterThan(0.1);
    expect(apart / most, name).toBeLessThan(2e-5);
  }
});

it('waits for others without reading them', async () => {
  const graph = new Graph('after');
  const x = graph.input('x', 'float32', [2, 3]);
  const row = graph.input('row', 'float32', [3]);
  graph.output('y', reshape(after(x, row, undefined), [6]));
  await engine.load('after', toOnnx(graph));
  const data = Float32Array.of(1, -2, 3, 0, 5, 6);
  const { y } = await engine.run('after', {
    x: { dtype: 'float32', shape: [2, 3], data },
    row: { dtype: 'float32', shape: [3], data: Float32Array.of(NaN, Infinity, 0) },
  });
  expect(y?.data).toEqual(data);
});
