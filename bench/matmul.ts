import type { Engine, Values } from '@armature/policy/engine';
import { Graph, matmul, reduceSum, toOnnx } from '@armature/policy/tensor';
import { quantile, timed } from './timing.ts';

const SIZE = 1024;
const RUNS = 20;

/** GFLOP/s of a plain float32 product [1024, 1024] × [1024, 1024] in the engine (best decile). */
export async function matmulRate(engine: Engine): Promise<number> {
  const graph = new Graph('product');
  const a = graph.input('a', 'float32', [SIZE, SIZE]);
  const b = graph.input('b', 'float32', [SIZE, SIZE]);
  // Only a sum comes back, so that copying the product does not count.
  graph.output('sum', reduceSum(matmul(a, b)));
  await engine.load('product', toOnnx(graph));
  const matrix = (scale: number): Values[string] => ({
    dtype: 'float32',
    shape: [SIZE, SIZE],
    data: Float32Array.from({ length: SIZE * SIZE }, (_, i) => ((i % 13) - 6) * scale),
  });
  await engine.put('operands', { a: matrix(0.01), b: matrix(0.02) });
  const times = await timed(RUNS, 3, () =>
    engine.run('product', {}, { resident: { a: 'operands/a', b: 'operands/b' } }),
  );
  await engine.unload('product');
  await engine.drop('operands');
  return (2 * SIZE ** 3) / quantile(times, 0.1) / 1e6;
}
