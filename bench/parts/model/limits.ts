import type { BaseModel } from '@armature/policy/checkpoint';
import { seeded } from '@armature/policy/data';
import { prefill, promptPositions, reason, tokenTable } from '@armature/policy/divla';
import type { Engine, Values } from '@armature/policy/engine';
import { elements, paramsOf } from '@armature/policy/nn';
import { filled, Graph, reduceSum, toOnnx } from '@armature/policy/tensor';
import { signatureOf } from '@armature/policy/train';
import { trio } from '@armature/sim';
import { BEYOND_CACHES, readRate } from '../../bandwidth.ts';
import { flopsOf } from '../../flops.ts';
import { matmulRate } from '../../matmul.ts';
import type { Compared, Figure } from '../../result.ts';
import { quantile, timed } from '../../timing.ts';

const TOKENS = 20;
const BATCHES = [1, 8, 32] as const;
const CALLS = { 1: 12, 8: 6, 32: 3 } as const;
const TURNS = 5;

/** What one part of the model needs of the machine, and how long it takes. */
interface Need {
  readonly ms: number;
  readonly flops: number;
  /** Weights and caches, each read once. */
  readonly bytes: number;
}

/**
 * The language model's prefill and a decoded token beside what the machine can do: floating-point
 * operations at the rate of a plain product, and bytes of weights and caches at the rate at which a row times a
 * matrix of as many bytes is computed. The limit is the slower of the two ("roofline", Williams et al. 2009).
 */
export async function againstLimits(
  engine: Engine,
  base: BaseModel,
  quick: boolean,
): Promise<Compared> {
  const figures: Figure[] = [
    { name: 'memory bandwidth', value: await readRate(engine, BEYOND_CACHES), unit: 'GB/s' },
  ];
  const ratios: Record<string, number> = {};
  for (const rows of BATCHES) {
    const product = await matmulRate(engine);
    const needs = await measured(engine, base, rows, quick ? 1 : TURNS);
    for (const [what, { ms, flops, bytes }] of Object.entries(needs)) {
      const bandwidth = await readRate(engine, bytes);
      const least = { products: flops / product / 1e6, reading: bytes / bandwidth / 1e6 };
      const share = Math.max(least.products, least.reading) / ms;
      const name = `${what}, batch ${rows}`;
      figures.push(
        { name, value: ms, unit: 'ms' },
        { name: `${name}: at the matrix product's rate`, value: least.products, unit: 'ms' },
        {
          name: `${name}: reading ${(bytes / 1e6).toFixed(1)} MB at ${bandwidth.toFixed(0)} GB/s`,
          value: least.reading,
          unit: 'ms',
        },
        { name: `${name}: of the limit`, value: 100 * share, unit: '%' },
      );
      ratios[`${what.split(' ')[0] ?? what}_batch_${rows}`] = share;
    }
  }
  return { figures, ratios };
}

async function measured(
  engine: Engine,
  base: BaseModel,
  rows: number,
  turns: number,
): Promise<Record<string, Need>> {
  const { config } = base;
  const { layers, kvHeads, headDim } = config.language;
  const length = promptPositions(config, signatureOf(trio.spec)).positions.length;
  const alone = promptGraph(base, rows, 0);
  const whole = promptGraph(base, rows, TOKENS);
  await engine.load('prefill', toOnnx(alone));
  await engine.load('whole', toOnnx(whole));
  const random = seeded(3);
  const feeds: Values = {
    embedded: {
      dtype: 'float32',
      shape: [rows, length, config.language.hidden],
      data: Float32Array.from({ length: rows * length * config.language.hidden }, () =>
        random.normal(),
      ),
    },
  };
  const times = { prefill: [] as number[], whole: [] as number[] };
  const calls = CALLS[rows as keyof typeof CALLS];
  for (let turn = 0; turn < turns; turn++) {
    for (const id of ['prefill', 'whole'] as const) {
      times[id].push(...(await timed(calls, 1, () => engine.run(id, feeds))));
    }
  }
  await engine.unload('prefill');
  await engine.unload('whole');
  const grown = length + (TOKENS + 1) / 2;
  const counts = { trips: TOKENS, length: grown };
  const weights = base.trunkSpecs
    .filter(({ name }) => name.startsWith('trunk.language.'))
    .map(({ name, shape }) => [name, Float32Array.BYTES_PER_ELEMENT * elements(shape)] as const);
  const bytes = weights.reduce((sum, [, size]) => sum + size, 0);
  const table = new Map(weights).get('trunk.language.embed') ?? 0;
  const cached = 2 * layers * kvHeads * headDim * Float32Array.BYTES_PER_ELEMENT * rows;
  const first = quantile(times.prefill, 0.5);
  return {
    [`prefill of ${length} tokens`]: {
      ms: first,
      flops: flopsOf(alone),
      bytes: bytes - table + cached * length,
    },
    'decoded token': {
      ms: (quantile(times.whole, 0.5) - first) / TOKENS,
      flops: (flopsOf(whole, counts) - flopsOf(alone)) / TOKENS,
      bytes: bytes + cached * grown,
    },
  };
}

/** The language model over a prompt, then `tokens` tokens of its own choice; only sums come back. */
function promptGraph(base: BaseModel, rows: number, tokens: number): Graph {
  const { trunk } = base;
  const config = {
    ...base.config,
    language: { ...base.config.language, reasoningTokens: tokens },
  };
  const graph = new Graph('prompt', undefined, { inference: true });
  const params = paramsOf(({ name, shape }) => {
    const data = trunk.get(name);
    if (data === undefined) throw new RangeError(`the base has no ${name}`);
    return graph.constant(data, shape);
  }).scope('trunk');
  const places = promptPositions(config, signatureOf(trio.spec));
  const { length } = places.positions;
  const embedded = graph.input('embedded', 'float32', [rows, length, config.language.hidden]);
  const prompt = { embedded, mask: filled(graph, 1, [rows, length]), ...places };
  if (tokens === 0) {
    graph.output('sum', reduceSum(prefill(params, config, prompt).hidden));
    return graph;
  }
  // No token ends it, so that it has as many as it may.
  const special = { begin: 0, end: -1, pad: 0 };
  graph.output(
    'sum',
    reduceSum(reason(params, config, tokenTable(params, config), prompt, special).embedding),
  );
  return graph;
}
