import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runOnce } from '../../test/support/tiny-models.ts';
import { Engine, type Value } from '../engine/index.ts';
import { Graph } from '../tensor/index.ts';
import { prefixMask, withPrefix } from './index.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'held' });
});
afterAll(() => engine.close());

const [BATCH, LENGTH, ACTIONS] = [2, 6, 3];
const size = BATCH * LENGTH * ACTIONS;
const negativeZeros = new Float32Array(size).fill(-0);
const f32 = (shape: readonly number[], data: Float32Array): Value => ({
  dtype: 'float32',
  shape,
  data,
});

it('puts the actions of the prefix in their places and leaves the others, exactly', async () => {
  const chunk = fc.float32Array({ minLength: size, maxLength: size });
  const delay = fc.integer({ min: 0, max: LENGTH });
  await fc.assert(
    fc.asyncProperty(chunk, chunk, fc.tuple(delay, delay), async (x, previous, delays) => {
      const graph = new Graph('held');
      const shape = [BATCH, LENGTH, ACTIONS];
      const held = {
        previous: graph.input('previous', 'float32', shape),
        mask: graph.input('mask', 'float32', [BATCH, LENGTH]),
      };
      graph.output('y', withPrefix(graph.input('x', 'float32', shape), held));
      const { y } = await runOnce(engine, graph, {
        x: f32(shape, x),
        previous: f32(shape, previous),
        mask: f32([BATCH, LENGTH], prefixMask(delays, LENGTH)),
      });
      const expected = x.map((value, i) => {
        const row = Math.floor(i / (LENGTH * ACTIONS));
        const step = Math.floor(i / ACTIONS) % LENGTH;
        return step < (delays[row] ?? NaN) ? (previous[i] ?? NaN) : value;
      });
      // toEqual tells −0 from +0, which the runtime's Where does not; adding 0 makes one of both.
      if (!(y?.data instanceof Float32Array)) throw new Error('the chunk is not in float32');
      expect(y.data.map((value) => value + 0)).toEqual(expected.map((value) => value + 0));
    }),
    { numRuns: 40, examples: [[negativeZeros, negativeZeros, [3, 0]]] },
  );
});
