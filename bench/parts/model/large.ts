import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { languageModel, siglipShape } from '@armature/policy/backbones';
import { seeded } from '@armature/policy/data';
import { samplerTable } from '@armature/policy/divla';
import {
  isBank,
  largeGraph,
  largeInputs,
  prefill,
  promptLength,
  promptOf,
  sample,
  viewTokens,
  viewsOf,
  type LargeConfig,
  type LargeSignature,
  type LargeWeights,
} from '@armature/policy/divla/large';
import { Engine, EngineError, type Value, type Values } from '@armature/policy/engine';
import { StoredWeights, layOut, restOf } from '@armature/policy/export';
import { LARGE_OWN, largePreset } from '@armature/policy/plan';
import { Graph, sizeOf, toOnnx } from '@armature/policy/tensor';
import { matmulRate } from '../../matmul.ts';
import type { Figure, LargeOptions, PartOptions } from '../../result.ts';
import { quantile, timed } from '../../timing.ts';
import { CARDS, largeLimits, type LargeTimes, type Peak } from './large-limits.ts';
import { writeRandomWeights } from './large-weights.ts';

const ROWS = 1;
const STEPS = 10;
const SPOKEN = 20;
const DATA = 'model.data';
const SIGNATURE: LargeSignature = {
  external: 1,
  wrist: 1,
  horizon: 16,
  textTokens: 48,
  reasoningTokens: SPOKEN,
};
/** No model says it, so that all tokens are decoded. */
const NEVER = -1;

/**
 * One robot's call of a model of published sizes with random weights: vision, prefill, a decoded token, ten
 * denoising steps, and whole calls without reasoning and with twenty tokens of it, beside the least that the
 * card, or the measured product rate, allows. Nothing where the machine lacks the provider, with a word.
 */
export async function measureLarge(
  { threads, quick, scratch }: PartOptions,
  large: LargeOptions,
): Promise<Figure[]> {
  const engine = await startOn(large.provider, threads);
  if (engine === null) return [];
  try {
    const rate = await matmulRate(engine);
    const config = configOf(large);
    const graphs = graphsOf(config, large);
    const runs = quick ? 1 : 10;
    const measured = new Map<string, number>();
    await write(scratch, graphs);
    for (const graph of graphs.all) {
      const file = path.join(scratch, `${graph.name}.onnx`);
      await engine.load(file, file);
      const all = Object.entries(feedsOf(graph));
      const banks = all.filter(([name]) => isBank(name));
      const feeds = Object.fromEntries(all.filter(([name]) => !isBank(name)));
      // As in serving, banks lie in the engine and do not cross to it with every call.
      await engine.put('banks', Object.fromEntries(banks));
      const resident = Object.fromEntries(banks.map(([name]) => [name, `banks/${name}`]));
      const first = await engine.run(file, feeds, { resident });
      const said = first['reasoning_tokens']?.shape[1];
      if (said !== undefined && said !== SPOKEN) throw new RangeError(`${said} tokens were said`);
      const times = await timed(runs, quick ? 0 : 2, () => engine.run(file, feeds, { resident }));
      measured.set(graph.name, quantile(times, 0.5));
      await engine.drop('banks');
      // Each session holds the weights that it reads: one at a time.
      await engine.unload(file);
    }
    return figuresOf(large, config, measured, rate);
  } finally {
    await engine.close();
  }
}

/** An engine on the provider; null where this machine's runtime has none, which a line says. */
async function startOn(
  executionProvider: LargeOptions['provider'],
  threads: number,
): Promise<Engine | null> {
  try {
    return await Engine.start({ threads, name: 'large', executionProvider });
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== 'no_provider') throw error;
    const [reason = ''] = error.message.split('\n');
    process.stderr.write(
      `nothing is measured: this machine has no ${executionProvider} (${reason})\n`,
    );
    return null;
  }
}

function configOf({ preset, layers }: LargeOptions): LargeConfig {
  if (preset !== 'tiny') return largePreset(preset, layers ?? Infinity);
  return {
    ...LARGE_OWN,
    name: 'tiny',
    decoder: { ...LARGE_OWN.decoder, actions: 32, channels: [16, 32, 64] },
    language: languageModel({
      model_type: 'llama',
      hidden_size: 64,
      intermediate_size: 128,
      num_hidden_layers: layers ?? 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      vocab_size: 512,
      rms_norm_eps: 1e-6,
      hidden_act: 'silu',
      attention_bias: false,
      tie_word_embeddings: true,
      rope_theta: 10_000,
    }),
    vision: {
      kind: 'siglip',
      shape: siglipShape({
        hidden_size: 48,
        intermediate_size: 96,
        num_hidden_layers: layers ?? 2,
        num_attention_heads: 4,
        image_size: 56,
        patch_size: 14,
        num_channels: 3,
        hidden_act: 'gelu_pytorch_tanh',
        layer_norm_eps: 1e-6,
      }),
    },
  };
}

interface LargeGraphs {
  readonly store: StoredWeights;
  readonly all: readonly Graph[];
}

function graphsOf(config: LargeConfig, { weights }: LargeOptions): LargeGraphs {
  const store = new StoredWeights({ weights, rest: restOf(weights) });
  const half = restOf(weights) === 'float16';
  const read = (graph: Graph): LargeWeights => ({ ...store.reader(graph, isBank), half });
  const part = (name: string, build: (graph: Graph, own: LargeWeights) => void): Graph => {
    const graph = new Graph(name, undefined, { inference: true });
    build(graph, read(graph));
    return graph;
  };
  const whole = {
    config,
    signature: SIGNATURE,
    rows: ROWS,
    slots: 1,
    special: { end: NEVER, pad: 0 },
    weights: read,
  };
  const visual = promptLength(config, SIGNATURE) - SIGNATURE.textTokens;
  const { hidden } = config.language.shape;
  return {
    store,
    all: [
      part('vision', (graph, { params }) => {
        const { images } = largeInputs(graph, config, SIGNATURE, ROWS);
        graph.output('tokens_seen', viewTokens(params, config, SIGNATURE, images));
      }),
      part('prefill', (graph, own) => {
        const seen = graph.input('seen', 'float32', [ROWS, visual, hidden]);
        const present = graph.input('present', 'float32', [ROWS, viewsOf(SIGNATURE)]);
        const text = [ROWS, SIGNATURE.textTokens];
        const tokens = graph.input('tokens', 'int64', text);
        const mask = graph.input('token_mask', 'float32', text);
        const prompt = promptOf(own.params, config, SIGNATURE, seen, present, tokens, mask);
        const { pooled, last } = prefill(own.params, config, own, prompt);
        graph.output('pooled', pooled);
        graph.output('last', last);
      }),
      part('denoise', (graph, { params }) => {
        const drive = {
          condition: graph.input('condition', 'float32', [ROWS, config.condition]),
          reasoning: graph.input('reasoning', 'float32', [ROWS, config.reasoning]),
        };
        const bank = {
          kind: 'gathered',
          slots: 1,
          slot: graph.input('slot', 'int64', [ROWS]),
        } as const;
        graph.output('actions', sample(graph, params, config, SIGNATURE, bank, drive));
      }),
      largeGraph('act', whole),
      largeGraph('reason_and_act', whole),
    ],
  };
}

async function write(scratch: string, { store, all }: LargeGraphs): Promise<void> {
  const { places } = layOut(store.list(), DATA);
  await writeRandomWeights(path.join(scratch, DATA), store.list(), places);
  for (const graph of all) {
    const bytes = toOnnx(graph, {
      external: (name) => {
        const place = places.get(name);
        if (place === undefined) throw new RangeError(`${name} has no place`);
        return place;
      },
    });
    await writeFile(path.join(scratch, `${graph.name}.onnx`), bytes);
  }
}

/** Any values that fit: noise for what is felt and seen, ones for masks. */
function feedsOf(graph: Graph): Values {
  const random = seeded(7);
  return Object.fromEntries(
    graph.inputs.map(({ name, tensor: { dtype, shape } }): [string, Value] => {
      const size = sizeOf(shape);
      if (name === 'table') {
        return [name, { dtype, shape, data: samplerTable(STEPS, 100, shape[0]) }];
      }
      if (dtype === 'uint8') {
        return [name, { dtype, shape, data: new Uint8Array(size).fill(128) }];
      }
      if (dtype === 'int64') {
        const value = name === 'steps' ? STEPS : name === 'tokens' ? 17 : 0;
        return [name, { dtype, shape, data: new BigInt64Array(size).fill(BigInt(value)) }];
      }
      // Banks in half precision; zero is a head that says nothing.
      if (dtype === 'float16') return [name, { dtype, shape, data: new Uint16Array(size) }];
      const value = /^(token_mask|present|kept|known)$/.test(name)
        ? () => 1
        : name.startsWith('previous')
          ? () => 0
          : () => random.normal() / 10;
      return [name, { dtype, shape, data: Float32Array.from({ length: size }, value) }];
    }),
  );
}

function figuresOf(
  large: LargeOptions,
  config: LargeConfig,
  measured: ReadonlyMap<string, number>,
  rate: number,
): Figure[] {
  const at = (name: string): number => measured.get(name) ?? NaN;
  const [still, spoken] = [at('act'), at('reason_and_act')];
  const peak: Peak =
    large.card === null ? { flops: rate * 1e9, bandwidth: Infinity } : CARDS[large.card];
  const least = largeLimits(config, SIGNATURE, ROWS, STEPS, large.weights, peak);
  const whole = (tokens: number): number =>
    least.vision + least.prefill + tokens * least.decode + least.head;
  const named = `${large.preset}${large.layers === null ? '' : ` of ${large.layers} layers`}, ${large.provider}, ${large.weights}`;
  const limit = large.card ?? 'the product rate';
  const rows: readonly (readonly [string, number, number])[] = [
    ['vision', at('vision'), least.vision],
    ['prefill', at('prefill'), least.prefill],
    ['a decoded token', (spoken - still) / SPOKEN, least.decode],
    [`${STEPS} denoising steps`, at('denoise'), least.head],
    ['whole call, R = 0', still, whole(0)],
    [`whole call, R = ${SPOKEN}`, spoken, whole(SPOKEN)],
  ] satisfies [string, number, LargeTimes[keyof LargeTimes]][];
  return [
    { name: 'matrix product', value: rate, unit: 'GFLOP/s' },
    ...rows.flatMap(([part, value, bound]) => [
      { name: `${named}: ${part}`, value, unit: 'ms' },
      { name: `${named}: ${part}, least by ${limit}`, value: bound, unit: 'ms' },
    ]),
  ];
}
