import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runOnce } from '../../../test/support/tiny-models.ts';
import { shippedBase } from '../../../test/support/small-policy.ts';
import { seeded, special } from '../../data/index.ts';
import { Engine, type Value, type Values } from '../../engine/index.ts';
import { elements, initialValues } from '../../nn/params.ts';
import { prefixWeights, type Correction } from '../../rtc/index.ts';
import { SAMPLER_COLUMNS, samplerTable } from '../diffusion.ts';
import { MAX_STEPS, serveGraph } from './serve.ts';

/**
 * Guidance in the serving graph against the rule as it is written, computed without it: the clean chunk
 * of each step comes from the same weights in a graph without guidance, and its Jacobian from differences
 * of that.
 */
const [HORIZON, WIDTH, DELAY] = [4, 2, 1];
/** Steps of the sampler, and those that are run: the last one's Jacobian is nearly the identity. */
const [STEPS, TRIPS] = [4, 3];
const SIZE = HORIZON * WIDTH;
/** How far each number of a chunk is moved, up and down, for a difference. */
const MOVE = 1e-2;

const base = shippedBase();
const { dims } = base.config.head;
const weights = prefixWeights('exp', DELAY, HORIZON, HORIZON);
const random = seeded(31);
const noise = Float64Array.from({ length: SIZE }, () => 0.3 * random.normal());
const previous = Float64Array.from({ length: SIZE }, () => 0.3 * random.normal());
/** What inputs are filled with that are not named in a run; the rest with zeros. */
const STILL: Readonly<Record<string, number>> = { state: 0.4, token_mask: 1, present: 1 };
const table = samplerTable(STEPS, base.config.diffusion.trainSteps, MAX_STEPS);

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 2, name: 'serve' });
});
afterAll(() => engine.close());

const graphOf = (rows: number, correction?: Correction) =>
  serveGraph('act', {
    config: base.config,
    signature: { external: 1, wrist: 0, width: 64, height: 64, horizon: HORIZON },
    rows,
    slots: 1,
    special,
    ...(correction === undefined ? {} : { correction }),
  });

/** Every input of a graph but those in `own`: a head, one scene for all rows, no guidance. */
function feedsOf(graph: ReturnType<typeof graphOf>, own: Readonly<Record<string, Value>>): Values {
  const heads = new Map(base.headSpecs.map((spec) => [spec.name, initialValues(spec, 9)]));
  return Object.fromEntries(
    graph.inputs.map(({ name, tensor: { shape, dtype } }) => {
      const given = own[name];
      if (given !== undefined) return [name, given];
      const weight = base.trunk.get(name) ?? heads.get(name);
      if (dtype === 'int64') {
        return [name, { dtype, shape, data: new BigInt64Array(elements(shape)) } as const];
      }
      if (dtype === 'uint8') {
        return [name, { dtype, shape, data: new Uint8Array(elements(shape)).fill(90) } as const];
      }
      const still = new Float32Array(elements(shape)).fill(STILL[name] ?? 0);
      return [name, { dtype: 'float32', shape, data: weight ?? still } as const];
    }),
  );
}

const f32 = (shape: readonly number[], data: Float32Array): Value => ({
  dtype: 'float32',
  shape,
  data,
});

/** Chunks of the robot's own dimensions, padded to the head's. */
const padded = (chunks: readonly Float64Array[]): Value => {
  const data = new Float32Array(chunks.length * HORIZON * dims);
  chunks.forEach((chunk, row) => {
    chunk.forEach((value, i) => {
      data[(row * HORIZON + Math.floor(i / WIDTH)) * dims + (i % WIDTH)] = value;
    });
  });
  return f32([chunks.length, HORIZON, dims], data);
};

const chunkOf = (data: Float32Array, row: number): Float64Array =>
  Float64Array.from(
    { length: SIZE },
    (_, i) => data[(row * HORIZON + Math.floor(i / WIDTH)) * dims + (i % WIDTH)] ?? NaN,
  );

async function sampled(
  chunks: readonly Float64Array[],
  more: Readonly<Record<string, Value>>,
  correction?: Correction,
): Promise<Float64Array[]> {
  const rows = chunks.length;
  const graph = graphOf(rows, correction);
  const kept = new Float32Array(rows * dims).map((_, i) => Number(i % dims < WIDTH));
  const own = { noise: padded(chunks), kept: f32([rows, dims], kept), ...more };
  const { actions } = await runOnce(engine, graph, feedsOf(graph, own));
  const data = actions?.data as Float32Array;
  return chunks.map((_, row) => chunkOf(data, row));
}

const steps = (count: number): Value => ({
  dtype: 'int64',
  shape: [],
  data: BigInt64Array.of(BigInt(count)),
});

/** Clean chunks of noisy ones, from a graph whose only step leaves nothing but them. */
function clean(chunks: readonly Float64Array[], row: Float32Array): Promise<Float64Array[]> {
  const only = new Float32Array(MAX_STEPS * SAMPLER_COLUMNS);
  only.set([row[0] ?? NaN, row[1] ?? NaN, row[2] ?? NaN, 1, 0]);
  return sampled(chunks, { table: f32([MAX_STEPS, SAMPLER_COLUMNS], only), steps: steps(1) });
}

async function byTheRule(correction: Correction): Promise<Float64Array> {
  let x = noise;
  for (let i = 0; i < TRIPS; i += 1) {
    const row = table.subarray(i * SAMPLER_COLUMNS, (i + 1) * SAMPLER_COLUMNS);
    const [, root = NaN, rest = NaN, rootBefore = NaN, restBefore = NaN] = row;
    const moved = [x];
    for (let k = 0; k < SIZE; k += 1) {
      for (const by of [MOVE, -MOVE]) moved.push(x.with(k, (x[k] ?? NaN) + by));
    }
    const [found = x, ...around] = await clean(moved, row);
    const error = found.map(
      (value, k) => (weights[Math.floor(k / WIDTH)] ?? NaN) * ((previous[k] ?? NaN) - value),
    );
    const pulled = error.map((_, k) =>
      error.reduce((sum, e, j) => {
        const [up, down] = [around[2 * k]?.[j] ?? NaN, around[2 * k + 1]?.[j] ?? NaN];
        return sum + (e * (up - down)) / (2 * MOVE);
      }, 0),
    );
    const turn = correction === 'direct' ? error : pulled.map((value) => root * value);
    x = x.map((value, k) => {
      const turned = (found[k] ?? NaN) + (turn[k] ?? NaN);
      return rootBefore * turned + (restBefore * (value - root * turned)) / rest;
    });
  }
  return x;
}

const apart = (a: Float64Array, b: Float64Array): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? NaN))), 0);

describe('guidance in the loop of the serving graph', () => {
  const guided = (correction?: Correction) =>
    sampled(
      [noise],
      {
        table: f32([MAX_STEPS, SAMPLER_COLUMNS], table),
        steps: steps(TRIPS),
        previous: padded([previous]),
        previous_weight: f32([1, HORIZON], weights),
      },
      correction,
    );

  it.each([
    ['direct', 1e-5],
    ['pulled-back', 2e-5],
  ] as const)('%s is the rule with the Jacobian of differences', async (correction, tolerance) => {
    const [got = noise] = await guided(correction);
    const want = await byTheRule(correction);
    expect(apart(got, want)).toBeLessThan(tolerance);
  });

  it('differs by correction, and is direct unless told', async () => {
    const [none, direct, pulled] = [
      await guided(),
      await guided('direct'),
      await guided('pulled-back'),
    ];
    expect(none).toEqual(direct);
    expect(apart(direct[0] ?? noise, pulled[0] ?? noise)).toBeGreaterThan(0.05);
  });

  it('pulls what is clipped as well', async () => {
    const far = noise.map((value) => 2 * Math.sign(value));
    const run = (weight: number) =>
      sampled(
        [far],
        {
          table: f32(
            [MAX_STEPS, SAMPLER_COLUMNS],
            samplerTable(1, base.config.diffusion.trainSteps, MAX_STEPS),
          ),
          steps: steps(1),
          previous: padded([previous]),
          previous_weight: f32(
            [1, HORIZON],
            weights.map(() => weight),
          ),
        },
        'pulled-back',
      );
    const [[free = noise], [held = noise]] = [await run(0), await run(1)];
    const { clip } = base.config.diffusion;
    expect(free.every((value) => Math.abs(Math.abs(value) - clip) < 1e-6)).toBe(true);
    expect(apart(held, previous)).toBeLessThan(0.05);
  });
});
