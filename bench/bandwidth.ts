import type { Engine } from '@armature/policy/engine';
import { Graph, loop, matmul, reduceSum, toOnnx } from '@armature/policy/tensor';
import { quantile, timed } from './timing.ts';

/** More than caches hold. */
export const BEYOND_CACHES = 2 ** 28;
/** Bytes that a run reads at least, so that its own cost does not count. */
const A_RUN = 2 ** 28;
const RUNS = 12;

/**
 * GB/s (10^9 bytes) at which the engine reads the same `bytes` over and over for products of a row with a
 * matrix, which is what decoding does (best decile): the memory's rate for more than caches hold, else theirs.
 */
export async function readRate(engine: Engine, bytes: number): Promise<number> {
  const side = Math.round(Math.sqrt(bytes / Float32Array.BYTES_PER_ELEMENT));
  const size = side ** 2 * Float32Array.BYTES_PER_ELEMENT;
  const trips = Math.ceil(A_RUN / size);
  const graph = new Graph('reading');
  const matrix = graph.input('matrix', 'float32', [side, side]);
  const { carried } = loop(graph, {
    trips,
    carried: [graph.input('row', 'float32', [1, side])],
    body: (_body, _trip, rows) => ({ carried: rows.map((row) => matmul(row, matrix)) }),
  });
  for (const row of carried) graph.output('sum', reduceSum(row));
  await engine.load('reading', toOnnx(graph));
  const filled = (shape: readonly [number, number], value: number) =>
    ({
      dtype: 'float32',
      shape,
      data: new Float32Array(shape[0] * shape[1]).fill(value),
    }) as const;
  await engine.put('reading', {
    matrix: filled([side, side], 1 / side),
    row: filled([1, side], 1),
  });
  const resident = { matrix: 'reading/matrix', row: 'reading/row' };
  const times = await timed(RUNS, 2, () => engine.run('reading', {}, { resident }));
  await engine.unload('reading');
  await engine.drop('reading');
  return (trips * size) / quantile(times, 0.1) / 1e6;
}
