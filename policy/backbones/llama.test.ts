import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runOnce, watchedParams, weightFeeds } from '../../test/support/tiny-models.ts';
import { fromFloat32, writeSafetensors } from '../checkpoint/index.ts';
import { seeded } from '../data/index.ts';
import { Engine, type Value } from '../engine/index.ts';
import { Graph, filled } from '../tensor/index.ts';
import {
  ModelConfigError,
  ModelFolderError,
  greedy,
  languageModel,
  languageName,
  modelWeights,
  openModelFolder,
  promptMask,
  type ModelFolder,
} from './index.ts';

/** A tiny Llama of random weights against the same model in plain numbers, which share no code. */

const CONFIG = {
  model_type: 'llama',
  hidden_size: 24,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  vocab_size: 50,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
  attention_bias: false,
  mlp_bias: false,
  tie_word_embeddings: false,
  rope_theta: 500_000,
  rope_scaling: null,
};
type Config = typeof CONFIG;
type Weights = ReadonlyMap<string, { shape: number[]; data: Float32Array }>;

function shapesOf(c: Config): [string, number[]][] {
  const [width, head] = [c.hidden_size, c.hidden_size / c.num_attention_heads];
  const layer = (i: number): [string, number[]][] => [
    [`model.layers.${i}.input_layernorm.weight`, [width]],
    [`model.layers.${i}.post_attention_layernorm.weight`, [width]],
    [`model.layers.${i}.self_attn.q_proj.weight`, [width, width]],
    [`model.layers.${i}.self_attn.k_proj.weight`, [c.num_key_value_heads * head, width]],
    [`model.layers.${i}.self_attn.v_proj.weight`, [c.num_key_value_heads * head, width]],
    [`model.layers.${i}.self_attn.o_proj.weight`, [width, width]],
    [`model.layers.${i}.mlp.gate_proj.weight`, [c.intermediate_size, width]],
    [`model.layers.${i}.mlp.up_proj.weight`, [c.intermediate_size, width]],
    [`model.layers.${i}.mlp.down_proj.weight`, [width, c.intermediate_size]],
  ];
  return [
    ['model.embed_tokens.weight', [c.vocab_size, width]],
    ...Array.from({ length: c.num_hidden_layers }, (_, i) => layer(i)).flat(),
    ['model.norm.weight', [width]],
    ...(c.tie_word_embeddings
      ? []
      : [['lm_head.weight', [c.vocab_size, width]] satisfies [string, number[]]]),
  ];
}

function randomWeights(c: Config): Weights {
  const random = seeded(5);
  return new Map(
    shapesOf(c).map(([name, shape]) => {
      const fan = shape.length === 1 ? 25 : (shape[1] ?? 1);
      const data = Float32Array.from(
        { length: shape.reduce((a, b) => a * b, 1) },
        () => (shape.length === 1 ? 1 : 0) + (1.2 * random.normal()) / Math.sqrt(fan),
      );
      return [name, { shape, data }];
    }),
  );
}

/** The folder in memory, its weights in as many shards as asked for. */
function folderOf(
  c: Record<string, unknown>,
  weights: Weights,
  shards = 1,
  map = (entries: Record<string, string>) => entries,
): ModelFolder {
  const names = [...weights.keys()];
  const files = new Map<string, Uint8Array>();
  const text = (json: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(json));
  files.set('config.json', text(c));
  const index: Record<string, string> = {};
  for (let i = 0; i < shards; i += 1) {
    const file = shards === 1 ? 'model.safetensors' : `model-${i}.safetensors`;
    const own = names.filter((_, n) => n % shards === i);
    for (const name of own) index[name] = file;
    const tensors = own.map((name) => {
      const { data, shape } = weights.get(name) ?? { data: new Float32Array(), shape: [0] };
      return [name, fromFloat32(data, shape, 'F32')] as const;
    });
    files.set(file, writeSafetensors(new Map(tensors)));
  }
  if (shards > 1) files.set('model.safetensors.index.json', text({ weight_map: map(index) }));
  return {
    files: [...files.keys()],
    async open(file) {
      const bytes = files.get(file) ?? new Uint8Array();
      return {
        size: bytes.length,
        read: async (offset, length) => bytes.slice(offset, offset + length),
      };
    },
  };
}

/** Logits of every position, by nested loops in float64. */
function plainLogits(c: Config, weights: Weights, ids: readonly number[]): number[][] {
  const heads = c.num_attention_heads;
  const head = c.hidden_size / heads;
  const group = heads / c.num_key_value_heads;
  const at = (name: string): Float32Array => weights.get(name)?.data ?? new Float32Array();
  const times = (name: string, x: readonly number[]): number[] => {
    const w = at(`${name}.weight`);
    return Array.from({ length: w.length / x.length }, (_, o) =>
      x.reduce((sum, value, i) => sum + value * (w[o * x.length + i] ?? NaN), 0),
    );
  };
  const rms = (name: string, x: readonly number[]): number[] => {
    const mean = x.reduce((sum, value) => sum + value * value, 0) / x.length;
    return x.map((value, i) => (value / Math.sqrt(mean + c.rms_norm_eps)) * (at(name)[i] ?? NaN));
  };
  const turned = (x: readonly number[], position: number): number[] =>
    x.map((value, n) => {
      const i = n % head;
      const pair = i < head / 2 ? i : i - head / 2;
      const angle = position * c.rope_theta ** ((-2 * pair) / head);
      const other = x[i < head / 2 ? n + head / 2 : n - head / 2] ?? NaN;
      return value * Math.cos(angle) + (i < head / 2 ? -1 : 1) * other * Math.sin(angle);
    });
  const table = at('model.embed_tokens.weight');
  let h = ids.map((id) => Array.from(table.slice(id * c.hidden_size, (id + 1) * c.hidden_size)));
  for (let l = 0; l < c.num_hidden_layers; l += 1) {
    const layer = `model.layers.${l}`;
    const normed = h.map((x) => rms(`${layer}.input_layernorm.weight`, x));
    const q = normed.map((x, t) => turned(times(`${layer}.self_attn.q_proj`, x), t));
    const k = normed.map((x, t) => turned(times(`${layer}.self_attn.k_proj`, x), t));
    const v = normed.map((x) => times(`${layer}.self_attn.v_proj`, x));
    const mixed = q.map((own, t) =>
      own.map((_, n) => {
        const kv = Math.floor(Math.floor(n / head) / group);
        const scores = Array.from({ length: t + 1 }, (__, s) => {
          let dot = 0;
          for (let i = 0; i < head; i += 1) {
            dot += (own[Math.floor(n / head) * head + i] ?? NaN) * (k[s]?.[kv * head + i] ?? NaN);
          }
          return Math.exp(dot / Math.sqrt(head));
        });
        const total = scores.reduce((a, b) => a + b, 0);
        return scores.reduce(
          (sum, score, s) => sum + (score / total) * (v[s]?.[kv * head + (n % head)] ?? NaN),
          0,
        );
      }),
    );
    h = h.map((x, t) => {
      const attended = times(`${layer}.self_attn.o_proj`, mixed[t] ?? []);
      return x.map((value, i) => value + (attended[i] ?? NaN));
    });
    h = h.map((x) => {
      const inner = rms(`${layer}.post_attention_layernorm.weight`, x);
      const gate = times(`${layer}.mlp.gate_proj`, inner);
      const up = times(`${layer}.mlp.up_proj`, inner);
      const product = gate.map((g, i) => (g / (1 + Math.exp(-g))) * (up[i] ?? NaN));
      const out = times(`${layer}.mlp.down_proj`, product);
      return x.map((value, i) => value + (out[i] ?? NaN));
    });
  }
  const output = c.tie_word_embeddings ? 'model.embed_tokens' : 'lm_head';
  return h.map((x) => times(output, rms('model.norm.weight', x)));
}

const PROMPTS = [
  [3, 41, 7, 7, 19],
  [30, 2, 48],
];
const TOKENS = 6;

/** Greedy continuation by starting over for every token. */
function plainGreedy(c: Config, weights: Weights, prompt: readonly number[]) {
  const ids = [...prompt];
  const logits: number[][] = [];
  for (let i = 0; i < TOKENS; i += 1) {
    const last = plainLogits(c, weights, ids).at(-1) ?? [];
    logits.push(last);
    ids.push(last.indexOf(Math.max(...last)));
  }
  return { ids: ids.slice(prompt.length), logits };
}

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'llama' });
});
afterAll(() => engine.close());

const longest = Math.max(...PROMPTS.map((prompt) => prompt.length));
/** A value for each token of the prompts, padded on the left. */
function padded(value: (row: number, t: number) => number, pad: number): Value {
  const data = PROMPTS.flatMap((prompt, row) => [
    ...Array.from({ length: longest - prompt.length }, () => pad),
    ...prompt.map((_, t) => value(row, t)),
  ]);
  return {
    dtype: 'int64',
    shape: [PROMPTS.length, longest],
    data: BigInt64Array.from(data, BigInt),
  };
}

describe.each([
  ['its own output layer, one file', CONFIG, 1],
  ['tied embeddings, three shards', { ...CONFIG, tie_word_embeddings: true }, 3],
] as const)('a Llama with %s', (_, config, shards) => {
  it('goes on as plain numbers do', async () => {
    const weights = randomWeights(config);
    const folder = await openModelFolder(folderOf(config, weights, shards));
    const model = languageModel(folder.config);
    const graph = new Graph('llama');
    const { params, specs } = watchedParams(graph);
    const rows = PROMPTS.length;
    const ids = graph.input('ids', 'int64', [rows, longest]);
    const said = greedy(model, params, {
      prompt: {
        x: model.embed(params, ids),
        positions: graph.input('positions', 'int64', [1, rows, longest]),
        mask: promptMask(graph.input('keep', 'int64', [rows, longest])),
      },
      start: graph.input('start', 'int64', [rows]),
      tokens: TOKENS,
    });
    graph.output('ids_said', said.ids);
    graph.output('logits', said.logits);
    const positions = padded((__, t) => t, 0);
    const results = await runOnce(engine, graph, {
      ...(await weightFeeds(folder, specs, languageName)),
      ids: padded((row, t) => PROMPTS[row]?.[t] ?? 0, 0),
      positions: { ...positions, shape: [1, ...positions.shape] },
      keep: padded(() => 1, 0),
      start: {
        dtype: 'int64',
        shape: [rows],
        data: BigInt64Array.from(PROMPTS, ({ length }) => BigInt(length)),
      },
    });
    const expected = PROMPTS.map((prompt) => plainGreedy(config, weights, prompt));
    expect(Array.from(results['ids_said']?.data ?? [], Number)).toEqual(
      expected.flatMap((row) => row.ids),
    );
    const want = expected.flatMap((row) => row.logits.flat());
    const got = Array.from(results['logits']?.data ?? [], Number);
    expect(got).toHaveLength(want.length);
    const worst = want.reduce((most, x, i) => Math.max(most, Math.abs(x - (got[i] ?? NaN))), 0);
    expect(worst).toBeLessThan(2e-5);
  });
});

describe('a folder that does not fit', () => {
  const weights = randomWeights(CONFIG);
  const specs = [{ name: 'lm_head.weight', shape: [50, 24] }];
  const readAll = async (folder: ModelFolder, wanted = specs): Promise<string[]> => {
    const names: string[] = [];
    for await (const { name } of modelWeights(
      await openModelFolder(folder),
      wanted,
      languageName,
    )) {
      names.push(name);
    }
    return names;
  };

  it('is refused with the name of what is wrong', async () => {
    expect(await readAll(folderOf(CONFIG, weights, 2))).toEqual(['lm_head.weight']);
    const wrongIndex = folderOf(CONFIG, weights, 2, (index) => ({
      ...index,
      'lm_head.weight':
        index['lm_head.weight'] === 'model-0.safetensors'
          ? 'model-1.safetensors'
          : 'model-0.safetensors',
    }));
    await expect(readAll(wrongIndex)).rejects.toThrow(/lm_head\.weight/);
    const absent = { ...folderOf(CONFIG, weights), files: ['config.json'] };
    await expect(openModelFolder(absent)).rejects.toThrow(ModelFolderError);
    await expect(openModelFolder(absent)).rejects.toThrow('model.safetensors');
    const folder = folderOf(CONFIG, weights);
    await expect(readAll(folder, [{ name: 'lm_head.bias', shape: [50] }])).rejects.toThrow(
      'lm_head.bias',
    );
    await expect(readAll(folder, [{ name: 'lm_head.weight', shape: [24, 50] }])).rejects.toThrow(
      '[50, 24]',
    );
  });

  it('a config that leaves out what the format itself says is read as it says', () => {
    const { attention_bias: _a, tie_word_embeddings: _t, rope_theta: _r, ...old } = CONFIG;
    const whole = { ...old, attention_bias: false, tie_word_embeddings: false, rope_theta: 10_000 };
    const plain = { ...whole, num_key_value_heads: whole.num_attention_heads };
    const { num_key_value_heads: _k, ...least } = old;
    expect(languageModel(old).shape).toEqual(languageModel(whole).shape);
    expect(languageModel(least).shape).toEqual(languageModel(plain).shape);
  });

  it('a config names its field', () => {
    expect(() => languageModel({ model_type: 'gpt9' })).toThrow(ModelConfigError);
    expect(() => languageModel({ ...CONFIG, hidden_act: 'gelu' })).toThrow('hidden_act');
    expect(() => languageModel({ ...CONFIG, num_hidden_layers: 0 })).toThrow('num_hidden_layers');
    const scaled = { rope_type: 'llama3', factor: 8 };
    expect(() => languageModel({ ...CONFIG, rope_scaling: scaled })).toThrow('rope_type');
  });
});

it('one token needs no loop', async () => {
  const model = languageModel(CONFIG);
  const graph = new Graph('one');
  const { params } = watchedParams(graph);
  const said = greedy(model, params, {
    prompt: {
      x: graph.input('x', 'float32', [1, 4, CONFIG.hidden_size]),
      positions: graph.input('positions', 'int64', [1, 1, 4]),
      mask: filled(graph, 0, [1, 1, 4, 4]),
    },
    start: graph.input('start', 'int64', [1]),
    tokens: 1,
  });
  expect([said.ids.shape, said.logits.shape]).toEqual([
    [1, 1],
    [1, 1, CONFIG.vocab_size],
  ]);
});
