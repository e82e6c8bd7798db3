import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runOnce } from '../../test/support/tiny-models.ts';
import { seeded } from '../data/index.ts';
import { ddimSample, type NoiseOf } from '../decoders/index.ts';
import { alphasCumprod, SAMPLER_COLUMNS, samplerTable } from '../divla/diffusion.ts';
import { Engine, type Values } from '../engine/index.ts';
import { Graph, cast, gather, matmul, type Tensor } from '../tensor/index.ts';
import { prefixMask, prefixWeights, towardsPrevious, type DdimGuide } from './index.ts';

/**
 * Chunks are smooth random paths (a Gaussian process), for which the best prediction of noise is known:
 * ε(x, t) = √(1−ā)·(ā·Σ + (1−ā)·I)⁻¹·x. So what guidance does to smoothness is the sampler's doing alone.
 */
const [BATCH, LENGTH, TRAIN_STEPS, STEPS] = [96, 16, 100, 10];
const [DELAY, END] = [4, 10];
const SMOOTHNESS = 4;

const covariance = Array.from({ length: LENGTH }, (_, i) =>
  Array.from(
    { length: LENGTH },
    (__, j) => 0.25 * Math.exp(-((i - j) ** 2) / (2 * SMOOTHNESS ** 2)) + (i === j ? 1e-4 : 0),
  ),
);

/** Gauss-Jordan elimination of a positive matrix. */
function inverse(m: readonly (readonly number[])[]): number[][] {
  const n = m.length;
  const rows = m.map((row, i) => [...row, ...Array.from({ length: n }, (_, j) => +(i === j))]);
  rows.forEach((pivot, i) => {
    const scale = pivot[i] ?? NaN;
    pivot.forEach((value, j) => (pivot[j] = value / scale));
    rows.forEach((row, k) => {
      const factor = row[i] ?? NaN;
      if (k !== i) row.forEach((value, j) => (row[j] = value - factor * (pivot[j] ?? NaN)));
    });
  });
  return rows.map((row) => row.slice(n));
}

/** A path of the process: a square root of the covariance times normal numbers. */
function paths(seed: number): Float32Array {
  const lower = covariance.map((row) => row.map(() => 0));
  covariance.forEach((row, i) => {
    for (let j = 0; j <= i; j += 1) {
      let sum = row[j] ?? NaN;
      for (let k = 0; k < j; k += 1) sum -= (lower[i]?.[k] ?? NaN) * (lower[j]?.[k] ?? NaN);
      const own = lower[i];
      if (own !== undefined) own[j] = i === j ? Math.sqrt(sum) : sum / (lower[j]?.[j] ?? NaN);
    }
  });
  const random = seeded(seed);
  return Float32Array.from(
    Array.from({ length: BATCH }, () => {
      const z = Array.from({ length: LENGTH }, () => random.normal());
      return lower.map((row) => row.reduce((sum, value, k) => sum + value * (z[k] ?? NaN), 0));
    }).flat(),
  );
}

const levels = alphasCumprod(TRAIN_STEPS);
const predictors = Float32Array.from(
  Array.from(levels, (bar) =>
    inverse(
      covariance.map((row, i) => row.map((value, j) => bar * value + (i === j ? 1 - bar : 0))),
    ).map((row) => row.map((value) => Math.sqrt(1 - bar) * value)),
  ).flat(2),
);
const random = seeded(11);
const noise = Float32Array.from({ length: BATCH * LENGTH }, () => random.normal());
const previous = paths(3);
const shape = [BATCH, LENGTH, 1];
const feeds: Values = {
  x: { dtype: 'float32', shape, data: noise },
  previous: { dtype: 'float32', shape, data: previous },
  predictors: { dtype: 'float32', shape: [TRAIN_STEPS, LENGTH, LENGTH], data: predictors },
};

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'chunks' });
});
afterAll(() => engine.close());

interface Outcome {
  readonly chunk: Float32Array;
  /** Mean bend of the executed path where the new chunk takes over. */
  readonly seam: number;
  /** Root mean square distance of the first actions to those that have been executed. */
  readonly apart: number;
  readonly nodes: number;
}

async function sample(guide?: (graph: Graph, previous: Tensor) => DdimGuide): Promise<Outcome> {
  const graph = new Graph('chunk');
  const x = graph.input('x', 'float32', shape);
  const before = graph.input('previous', 'float32', shape);
  const bank = graph.input('predictors', 'float32', [TRAIN_STEPS, LENGTH, LENGTH]);
  const find: NoiseOf = (y, t) => matmul(gather(bank, cast(t, 'int64'), 0), y);
  const change = guide === undefined ? undefined : towardsPrevious(guide(graph, before));
  const options = { steps: STEPS, trainSteps: TRAIN_STEPS, clip: 4 };
  graph.output('chunk', ddimSample(x, options, find, change).at(-1) ?? x);
  const chunk = (await runOnce(engine, graph, feeds))['chunk']?.data as Float32Array;
  const executed = (row: number, i: number): number =>
    (i < DELAY ? previous : chunk)[row * LENGTH + i] ?? NaN;
  let [seam, apart] = [0, 0];
  for (let row = 0; row < BATCH; row += 1) {
    for (const i of [DELAY - 1, DELAY]) {
      const bend = executed(row, i + 1) - 2 * executed(row, i) + executed(row, i - 1);
      seam += Math.abs(bend) / (2 * BATCH);
    }
    for (let i = 0; i < DELAY; i += 1) {
      const gap = (chunk[row * LENGTH + i] ?? NaN) - (previous[row * LENGTH + i] ?? NaN);
      apart += gap ** 2 / (BATCH * DELAY);
    }
  }
  return { chunk, seam, apart: Math.sqrt(apart), nodes: graph.nodes.length };
}

const soft = (graph: Graph): Tensor =>
  graph.constant(prefixWeights('exp', DELAY, END, LENGTH), [1, LENGTH]);
const hardMask = (graph: Graph): Tensor => graph.constant(prefixMask([DELAY], LENGTH), [1, LENGTH]);

describe('a chunk that goes on from the one before it', () => {
  it('bends less where it takes over, in each mode; the pulled-back one costs a backward pass', async () => {
    const plain = await sample();
    const direct = await sample((graph, before) => ({
      previous: before,
      weights: soft(graph),
      mode: 'direct',
    }));
    const pulled = await sample((graph, before) => ({
      previous: before,
      weights: soft(graph),
      mode: 'pulled-back',
    }));
    const hard = await sample((graph, before) => ({
      previous: before,
      weights: hardMask(graph),
      mode: 'hard',
    }));
    for (const one of [direct, pulled, hard]) {
      expect(one.seam).toBeLessThan(plain.seam / 2);
      expect(one.apart).toBeLessThan(plain.apart / 2);
    }
    // A ramp behind the executed actions bends less than an edge.
    expect(direct.seam).toBeLessThan(hard.seam / 2);
    expect(pulled.seam).toBeLessThan(hard.seam / 2);
    expect(hard.apart).toBe(0);
    expect(direct.apart).toBeLessThan(1e-6);
    expect(pulled.nodes).toBeGreaterThan(direct.nodes);
  });

  it('is the plain sample without weights, and the previous chunk with all of them', async () => {
    const plain = await sample();
    const none = await sample((graph, before) => ({
      previous: before,
      weights: graph.constant(0, [1, LENGTH]),
      mode: 'direct',
    }));
    const all = await sample((graph, before) => ({
      previous: before,
      weights: graph.constant(1, [1, LENGTH]),
      mode: 'direct',
    }));
    const apart = (a: Float32Array, b: Float32Array): number =>
      a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? NaN))), 0);
    expect(none.chunk).toEqual(plain.chunk);
    expect(apart(all.chunk, previous)).toBeLessThan(1e-6);
  });

  it('is the sample of the rule as it is written, computed without a graph', async () => {
    const direct = await sample((graph, before) => ({
      previous: before,
      weights: soft(graph),
      mode: 'direct',
    }));
    const weights = prefixWeights('exp', DELAY, END, LENGTH);
    const table = samplerTable(STEPS, TRAIN_STEPS);
    let most = 0;
    for (let row = 0; row < BATCH; row += 1) {
      const at = row * LENGTH;
      let x = Array.from(noise.subarray(at, at + LENGTH));
      for (let i = 0; i < STEPS; i += 1) {
        const [t = 0, root = 0, rest = 0, rootBefore = 0, restBefore = 0] = table.subarray(
          i * SAMPLER_COLUMNS,
          (i + 1) * SAMPLER_COLUMNS,
        );
        const predictor = predictors.subarray(t * LENGTH ** 2, (t + 1) * LENGTH ** 2);
        const found = x.map((_, k) =>
          x.reduce((sum, value, j) => sum + value * (predictor[k * LENGTH + j] ?? NaN), 0),
        );
        x = x.map((value, k) => {
          const free = (value - rest * (found[k] ?? NaN)) / root;
          const turned = free + (weights[k] ?? NaN) * ((previous[at + k] ?? NaN) - free);
          return rootBefore * turned + (restBefore * (value - root * turned)) / rest;
        });
      }
      x.forEach((value, k) => {
        most = Math.max(most, Math.abs(value - (direct.chunk[at + k] ?? NaN)));
      });
    }
    expect(most).toBeLessThan(1e-4);
  });
});
