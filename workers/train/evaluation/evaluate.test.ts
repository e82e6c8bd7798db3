import { evaluationSchema, type Evaluation } from '@armature/sdk/contract';
import { describe, expect, it } from 'vitest';
import { evaluate, FULL_NOISE, type EvaluationInput } from './evaluate.ts';
import type { ChunkQuery } from './predictor.ts';
import { uniform } from './random.ts';
import type { Moments, RecordedEpisode } from './recorded.ts';
import { RIDGE } from './ridge.ts';

const H = 4;
const A = 3;
const S = 2;
const served = { steps: 3, noise_scale: 0.25 };

type Rows = number[][];
interface Plain {
  index: number;
  state: Rows;
  action: Rows;
}

/** Dimension 0 moves within episodes, 1 only between them, 2 never. */
function record(seed: number, lengths: number[]): Plain[] {
  const next = uniform(seed);
  return lengths.map((length, index) => {
    const posture = next() * 5;
    const state: Rows = [];
    const action: Rows = [];
    for (let t = 0; t < length; t++) {
      state.push([next(), posture + 0.01 * next()].map(Math.fround));
      action.push([next() * 2, posture + 0.01 * next(), 0.5].map(Math.fround));
    }
    return { index: index + 10, state, action };
  });
}

function typed(episode: Plain): RecordedEpisode {
  return {
    index: episode.index,
    length: episode.state.length,
    state: Float32Array.from(episode.state.flat()),
    action: Float32Array.from(episode.action.flat()),
  };
}

function moments(rows: Rows): Moments {
  const width = rows[0]?.length ?? 0;
  const mean = Array.from({ length: width }, (_, d) => average(rows.map((r) => r[d] ?? NaN)));
  const std = mean.map((m, d) => Math.sqrt(average(rows.map((r) => ((r[d] ?? NaN) - m) ** 2))));
  return { mean, std: std.map((value) => (value < 1e-9 ? 0 : value)) };
}

function average(values: number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

/** A made-up policy: anything that depends on everything in the query. */
function answer(q: ChunkQuery, seed: number): Rows {
  const last = q.lastCommand === undefined ? 7 : (q.lastCommand[0] ?? NaN);
  const noise = (seed % 1000) / 1000;
  return Array.from({ length: H }, (_, h) =>
    Array.from({ length: A }, (_, d) =>
      Math.fround(
        q.episode * 0.1 +
          q.t * 0.01 +
          h +
          d * 0.3 +
          last +
          noise * q.sampler.noise_scale +
          (q.blank ? 1 : 0) +
          q.sampler.steps * 0.001,
      ),
    ),
  );
}

const training = record(1, [9, 14, 11, 3]);
const heldout = record(2, [6, 13, 3]);
const asked: ChunkQuery[] = [];

function input(over: Partial<EvaluationInput> = {}): EvaluationInput {
  return {
    names: ['arm', 'base', 'fixed'],
    shape: { horizon: H, actions: A, states: S },
    reference: 'last_command',
    training: training.map(typed),
    heldout: heldout.map(typed),
    state: moments(training.flatMap((e) => e.state)),
    action: moments(training.flatMap((e) => e.action)),
    stateOf: [0, 1, null],
    predict: (queries) => {
      asked.push(...queries);
      return Promise.resolve(
        queries.map((q) => q.seeds.map((seed) => Float32Array.from(answer(q, seed).flat()))),
      );
    },
    served,
    usesLastCommand: true,
    blind: false,
    seed: 3,
    framesPerCall: 5,
    onProgress: () => undefined,
    signal: new AbortController().signal,
    ...over,
  };
}

/** The same figures by the shortest road: one loop a value, nothing shared with the code. */
function slow(
  chunkOf: (e: Plain, t: number) => Rows[],
  dims: number[],
  episodes = heldout,
): { mse: number; l1: number } {
  const { std } = moments(training.flatMap((e) => e.action));
  const errors: number[] = [];
  for (const e of episodes) {
    for (let t = 0; t < e.action.length; t++) {
      for (const chunk of chunkOf(e, t)) {
        for (let h = 0; h < H && t + h < e.action.length; h++) {
          for (const d of dims) {
            const wanted = e.action[t + h]?.[d] ?? NaN;
            errors.push(((chunk[h]?.[d] ?? NaN) - wanted) / (std[d] ?? NaN));
          }
        }
      }
    }
  }
  return { mse: average(errors.map((x) => x * x)), l1: average(errors.map(Math.abs)) };
}

/** Gaussian elimination on the normal equations, one action at a time. */
function slowRidge(): (e: Plain, t: number) => Rows {
  const { mean, std } = moments(training.flatMap((e) => e.state));
  const z = (x: number[]): number[] => [
    ...x.map((v, i) => (v - (mean[i] ?? NaN)) / (std[i] ?? NaN)),
    1,
  ];
  const weights = Array.from({ length: H }, (_, h) =>
    Array.from({ length: A }, (_, d) => {
      const pairs = training.flatMap((e) =>
        e.state.flatMap((x, t) => {
          const y = e.action[t + h]?.[d];
          return y === undefined ? [] : [{ x: z(x), y }];
        }),
      );
      const m = Array.from({ length: S + 1 }, (_, i) => [
        ...Array.from(
          { length: S + 1 },
          (_, j) =>
            pairs.reduce((sum, p) => sum + (p.x[i] ?? NaN) * (p.x[j] ?? NaN), 0) +
            (i === j && i < S ? RIDGE * pairs.length : 0),
        ),
        pairs.reduce((sum, p) => sum + (p.x[i] ?? NaN) * p.y, 0),
      ]);
      return eliminate(m);
    }),
  );
  return (e, t) =>
    weights.map((step) =>
      step.map((w) =>
        Math.fround(z(e.state[t] ?? []).reduce((sum, v, i) => sum + v * (w[i] ?? NaN), 0)),
      ),
    );
}

function eliminate(m: Rows): number[] {
  const n = m.length;
  for (let i = 0; i < n; i++) {
    const pivot = m[i]?.[i] ?? NaN;
    m[i] = (m[i] ?? []).map((v) => v / pivot);
    for (let k = 0; k < n; k++) {
      if (k === i) continue;
      const by = m[k]?.[i] ?? NaN;
      m[k] = (m[k] ?? []).map((v, c) => v - by * (m[i]?.[c] ?? NaN));
    }
  }
  return m.map((r) => r[n] ?? NaN);
}

function queriesAt(e: Plain, t: number, steps: number, blank: boolean): ChunkQuery {
  const found = asked.find(
    (q) => q.episode === e.index && q.t === t && q.sampler.steps === steps && q.blank === blank,
  );
  if (found === undefined) throw new Error(`frame ${t} of episode ${e.index} was never asked`);
  return found;
}

function samples(e: Plain, t: number, blank = false): Rows[] {
  const q = queriesAt(e, t, FULL_NOISE.steps, blank);
  return q.seeds.map((seed) => answer(q, seed));
}

function meanOf(chunks: Rows[]): Rows {
  return Array.from({ length: H }, (_, h) =>
    Array.from({ length: A }, (_, d) => average(chunks.map((c) => c[h]?.[d] ?? NaN))),
  );
}

function repeat(values: number[]): Rows {
  return Array.from({ length: H }, () => values);
}

describe('evaluate', () => {
  it('gives the figures of an independent slow implementation', async () => {
    asked.length = 0;
    const got = await evaluate(input());
    expect(evaluationSchema.parse(got)).toEqual(got);
    const mean = moments(training.flatMap((e) => e.action)).mean;
    const hold = (e: Plain, t: number): Rows => repeat(e.state[t] ?? []);
    const ridge = slowRidge();
    const want: Record<string, (e: Plain, t: number) => Rows[]> = {
      sample: samples,
      mean8: (e, t) => [meanOf(samples(e, t))],
      blank8: (e, t) => [meanOf(samples(e, t, true))],
      served: (e, t) => {
        const q = queriesAt(e, t, served.steps, false);
        return [answer(q, q.seeds[0] ?? NaN)];
      },
      hold: (e, t) => [hold(e, t)],
      hold_command: (e, t) => [t === 0 ? hold(e, t) : repeat(e.action[t - 1] ?? [])],
      mean: () => [repeat([...mean])],
      ridge: (e, t) => [ridge(e, t)],
    };
    for (const [name, chunkOf] of Object.entries(want)) {
      const all = slow(chunkOf, [0, 1]);
      const apart = slow(chunkOf, [0]);
      const pair = got[name as 'sample'];
      expect(pair.mse, name).toBeCloseTo(all.mse, 4);
      expect(pair.l1, name).toBeCloseTo(all.l1, 4);
      expect(got.moving?.[name as 'sample'].mse, name).toBeCloseTo(apart.mse, 4);
      expect(got.moving?.[name as 'sample'].l1, name).toBeCloseTo(apart.l1, 4);
    }
    expect(got.moving?.dimensions).toEqual(['arm']);
    expect(got.served).toMatchObject(served);
    expect(got.chunks).toBe(22);
    expect(got.episodes_used).toBe(4);
    heldout.forEach((e, i) => {
      const line = got.episodes[i];
      expect(line).toMatchObject({ index: e.index, chunks: e.action.length });
      expect(line?.hold_mse).toBeCloseTo(slow((p, t) => [hold(p, t)], [0, 1], [e]).mse, 4);
      expect(line?.mean8_mse).toBeCloseTo(
        slow((p, t) => [meanOf(samples(p, t))], [0, 1], [e]).mse,
        4,
      );
    });
    expect(got.served_mse_by_step).toHaveLength(H);
    expectBracket(got.ci95.mean8_mse, got.mean8.mse);
    expectBracket(got.ci95.blank8_minus_mean8_mse, got.blank8.mse - got.mean8.mse);
  });

  it('asks with other noise everywhere, the same blanked, and the last command where there is one', async () => {
    asked.length = 0;
    await evaluate(input());
    const full = asked.filter((q) => q.sampler.steps === FULL_NOISE.steps && !q.blank);
    expect(full).toHaveLength(22);
    const seeds = full.flatMap((q) => q.seeds);
    expect(new Set(seeds).size).toBe(22 * 8);
    for (const q of full) {
      const blank = asked.find((b) => b.blank && b.episode === q.episode && b.t === q.t);
      expect(blank?.seeds).toEqual(q.seeds);
      const e = heldout.find((h) => h.index === q.episode);
      expect(q.lastCommand === undefined ? undefined : [...q.lastCommand]).toEqual(
        e?.action[q.t - 1],
      );
    }
    asked.length = 0;
    await evaluate(input({ usesLastCommand: false, blind: true }));
    expect(asked.some((q) => q.lastCommand !== undefined || q.blank)).toBe(false);
  });

  it('traces the first episode chunk after chunk', async () => {
    const { trace } = await evaluate(input());
    expect(trace.names).toEqual(['arm', 'base']);
    expect(trace.recorded[0]).toEqual(heldout[0]?.action.map((a) => a[0]));
    expect(trace.predicted.map((series) => series.length)).toEqual([6, 6]);
  });

  it('reports progress, stops on abort and refuses what it cannot score', async () => {
    const shares: number[] = [];
    await evaluate(
      input({
        onProgress: (share) => {
          shares.push(share);
        },
      }),
    );
    expect(shares.at(-1)).toBe(1);
    expect([...shares].sort((a, b) => a - b)).toEqual(shares);
    const stopped = AbortSignal.abort(new Error('lease lost'));
    await expect(evaluate(input({ signal: stopped }))).rejects.toThrow('lease lost');
    await expect(evaluate(input({ heldout: [] }))).rejects.toMatchObject({
      code: 'empty_dataset',
      field: 'heldout_dataset_id',
    });
    await expect(evaluate(input({ training: record(1, [2, 3]).map(typed) }))).rejects.toMatchObject(
      { code: 'invalid_dataset' },
    );
    await expect(
      evaluate(input({ predict: (q) => Promise.resolve(q.map(() => [])) })),
    ).rejects.toThrow('answered 0 of 8');
    await expect(
      evaluate(
        input({
          predict: (q) =>
            Promise.resolve(q.map((x) => x.seeds.map(() => new Float32Array(H * A).fill(NaN)))),
        }),
      ),
    ).rejects.toThrow('not finite');
  });
});

function expectBracket([low, high]: Evaluation['ci95']['mean8_mse'], value: number): void {
  expect(low).toBeLessThanOrEqual(value);
  expect(high).toBeGreaterThanOrEqual(value);
}
