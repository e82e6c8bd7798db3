import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openReference, watchedParams } from '../../../test/support/tiny-models.ts';
import {
  TINY_SIGNATURE,
  TOWER_IMAGE,
  tinyLarge,
  tinyVision,
} from '../../../test/support/tiny-large.ts';
import {
  languageModel,
  languageName,
  modelWeights,
  qwenVision,
  siglip,
  siglipName,
} from '../../backbones/index.ts';
import { QWEN2_VL_SCALE, SIGLIP_SCALE, scaledPlanes } from '../../data/pixel-scale.ts';
import { qwenPatches } from '../../data/qwen-patches.ts';
import { seeded } from '../../data/index.ts';
import { conditionalUnet1d } from '../../decoders/index.ts';
import { Engine, type Value, type Values } from '../../engine/index.ts';
import { mergeLora, type LoraConfig } from '../../lora/index.ts';
import { elements, type Params, type ParamSpec } from '../../nn/params.ts';
import { samplerTable } from '../diffusion.ts';
import { Graph, causalBias, toOnnx } from '../../tensor/index.ts';
import {
  LARGE_MAX_STEPS,
  imageSide,
  largeGraph,
  largeParams,
  type LargeConfig,
  type LargeGraph,
  type LargeVision,
} from './index.ts';

/**
 * The joined graphs against their parts, one row at a time: the encoder, the language model (started over
 * for every token, its adapter merged) and the U-Net (the reasoning's modulation folded into its weights)
 * run alone as the parity suite proves them; everything between is plain numbers.
 */

type Rows = number[][];
type Weights = ReadonlyMap<string, Float32Array>;

const SIGNATURE = TINY_SIGNATURE;
const SLOTS = 4;
const LORA: LoraConfig = { rank: 2, scaling: 1.5, targets: ['q_proj', 'v_proj', 'down_proj'] };
const STEPS = 3;
const TOLERANCE = 2e-4;
const PAD = 1;
/** Tokens of the longest prompt and reasoning. */
const LONGEST = 7 + 3 + SIGNATURE.textTokens + SIGNATURE.reasoningTokens;
/** An id that no model says. */
const NEVER = -7;

const LLAMA = {
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
  tie_word_embeddings: false,
  rope_theta: 500_000,
};

/** What three robots send. */
const ROBOTS = [
  { slot: 2, present: [1, 1], tokens: [5, 9, 11, 20, 31, 8] },
  { slot: 0, present: [1, 0], tokens: [7, 44, 3] },
  { slot: 1, present: [0, 1], tokens: [40] },
] as const;
type Robot = (typeof ROBOTS)[number];

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'large' });
});
afterAll(() => engine.close());

function randomOf({ name, shape }: Pick<ParamSpec, 'name' | 'shape'>, spread = 1): Float32Array {
  const random = seeded(11, ...Array.from(name, (letter) => letter.charCodeAt(0)));
  const isNorm = /(norm|settled|\.1)\.weight$/.test(name) && shape.length === 1;
  const fan = shape.length > 1 ? elements(shape.slice(1)) : 16;
  return Float32Array.from(
    { length: elements(shape) },
    () => (isNorm ? 1 : 0) + (spread * random.normal()) / Math.sqrt(fan),
  );
}

/** Shared weights: those of the folders, the rest random. */
async function sharedWeights(config: LargeConfig): Promise<Map<string, Float32Array>> {
  const { shared } = largeParams(config);
  const weights = new Map(shared.map((spec) => [spec.name, randomOf(spec)]));
  const take = async (folder: Awaited<ReturnType<typeof openReference>>, scope: RegExp) => {
    const specs = shared.filter(({ name }) => scope.test(name));
    const rename = (name: string) =>
      name.startsWith('vision_model.')
        ? `vision_model.${siglipName(name, true) ?? ''}`
        : languageName(name);
    for await (const { name, data } of modelWeights(folder, specs, rename)) weights.set(name, data);
  };
  if (config.language.shape.positionAxes === 3) {
    await take(await openReference('qwen2-vl-tiny', 'folder'), /^(model|lm_head|visual)\./);
  }
  if (config.vision.kind === 'siglip') {
    await take(await openReference('siglip-tiny', 'folder-full'), /^vision_model\./);
  }
  return weights;
}

/** Each slot's own weights of a bank; those of the last slot are no numbers. */
function bankOf(specs: readonly ParamSpec[]): Map<string, Float32Array[]> {
  return new Map(
    specs.map((spec) => [
      spec.name,
      Array.from({ length: SLOTS }, (_, slot) =>
        slot === SLOTS - 1
          ? new Float32Array(elements(spec.shape)).fill(NaN)
          : randomOf({ ...spec, name: `${spec.name}/${slot}` }),
      ),
    ]),
  );
}

/** Graphs of the parts by name, each built and loaded once. */
class Parts {
  private readonly name: string;
  private readonly known = new Map<
    string,
    { readonly specs: readonly ParamSpec[]; readonly inputs: ReadonlySet<string> }
  >();

  constructor(name: string) {
    this.name = name;
  }

  async run(
    part: string,
    build: (graph: Graph, params: Params) => Graph,
    feeds: (specs: readonly ParamSpec[]) => Values,
  ): Promise<Values> {
    const id = `${this.name}/${part}`;
    let known = this.known.get(part);
    if (known === undefined) {
      const graph = new Graph(part);
      const { params, specs } = watchedParams(graph);
      const built = build(graph, params);
      await engine.load(id, toOnnx(built));
      known = { specs, inputs: new Set(built.inputs.map(({ name }) => name)) };
      this.known.set(part, known);
    }
    const { specs, inputs } = known;
    const given = Object.entries(feeds(specs)).filter(([name]) => inputs.has(name));
    return engine.run(id, Object.fromEntries(given));
  }
}

interface Model {
  readonly parts: Parts;
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  readonly config: LargeConfig;
  readonly shared: Map<string, Float32Array>;
  readonly head: Map<string, Float32Array[]>;
  readonly lora: Map<string, Float32Array[]>;
}

async function modelOf(kind: 'qwen2_vl' | 'llama', vision: LargeVision['kind']): Promise<Model> {
  const qwen = await openReference('qwen2-vl-tiny', 'folder');
  const eyes = vision === 'siglip' ? await openReference('siglip-tiny', 'folder-full') : qwen;
  const language = languageModel(kind === 'llama' ? LLAMA : qwen.config);
  const config = tinyLarge(language, tinyVision(vision, eyes));
  const specs = largeParams(config, LORA);
  const all = Object.values(specs).flat();
  return {
    parts: new Parts(`${kind}+${vision}`),
    shapes: new Map(all.map(({ name, shape }) => [name, shape])),
    config,
    shared: await sharedWeights(config),
    head: bankOf(specs.head),
    lora: bankOf(specs.lora),
  };
}

const f32 = (shape: readonly number[], data: Float32Array): Value => ({
  dtype: 'float32',
  shape,
  data,
});
const i64 = (shape: readonly number[], data: readonly number[]): Value => ({
  dtype: 'int64',
  shape,
  data: BigInt64Array.from(data, BigInt),
});

function noise(length: number, ...seed: number[]): Float32Array {
  const random = seeded(...(seed as [number, ...number[]]));
  return Float32Array.from({ length }, () => random.normal());
}

/** One robot's inputs, whatever else is in the batch. */
function inputsOf(config: LargeConfig, robot: Robot) {
  const { dims } = config.head;
  const { horizon } = SIGNATURE;
  const side = imageSide(config);
  const random = seeded(31, robot.slot);
  return {
    images: Uint8Array.from({ length: 2 * side ** 2 * 3 }, () => random.integer(256)),
    state: noise(dims, 1, robot.slot),
    command: noise(dims, 2, robot.slot),
    known: Float32Array.of(robot.slot % 2),
    noise: noise(horizon * dims, 3, robot.slot),
    kept: Float32Array.from({ length: dims }, (_, i) => (i < dims - robot.slot ? 1 : 0)),
    previous: noise(horizon * dims, 4, robot.slot).map((x) => x / 3),
    // The first robot goes on from nothing, the second is guided, the third has an action set.
    weight: Float32Array.from({ length: horizon }, (_, i) => (robot.slot === 0 ? 1 / (i + 1) : 0)),
    given: Float32Array.from({ length: horizon }, (_, i) => (robot.slot === 1 && i === 0 ? 1 : 0)),
    reasoning: noise(config.reasoning, 5, robot.slot),
  };
}

function feedsOf({ config, shapes, shared, head, lora }: Model, robots: readonly Robot[]): Values {
  const n = robots.length;
  const { dims } = config.head;
  const { horizon, textTokens } = SIGNATURE;
  const side = imageSide(config);
  const own = robots.map((robot) => inputsOf(config, robot));
  const joined = (pick: (one: (typeof own)[number]) => Float32Array): Float32Array =>
    Float32Array.from(own.flatMap((one) => [...pick(one)]));
  const text = robots.map(({ tokens }) => [
    ...Array.from({ length: textTokens - tokens.length }, () => PAD),
    ...tokens,
  ]);
  const shapeOf = (name: string): readonly number[] => shapes.get(name) ?? [];
  const banks = [...head, ...lora].map(([name, slots]): [string, Value] => [
    name,
    f32([SLOTS, ...shapeOf(name)], Float32Array.from(slots.flatMap((data) => [...data]))),
  ]);
  return {
    ...Object.fromEntries([...shared].map(([name, data]) => [name, f32(shapeOf(name), data)])),
    ...Object.fromEntries(banks),
    images: {
      dtype: 'uint8',
      shape: [n, 2, side, side, 3],
      data: Uint8Array.from(own.flatMap(({ images }) => [...images])),
    },
    tokens: i64([n, textTokens], text.flat()),
    token_mask: f32(
      [n, textTokens],
      Float32Array.from(
        robots.flatMap(({ tokens }) =>
          Array.from({ length: textTokens }, (_, i) => (i < textTokens - tokens.length ? 0 : 1)),
        ),
      ),
    ),
    present: f32([n, 2], Float32Array.from(robots.flatMap(({ present }) => [...present]))),
    slot: i64(
      [n],
      robots.map(({ slot }) => slot),
    ),
    state: f32(
      [n, dims],
      joined((one) => one.state),
    ),
    command: f32(
      [n, dims],
      joined((one) => one.command),
    ),
    known: f32(
      [n, 1],
      joined((one) => one.known),
    ),
    noise: f32(
      [n, horizon, dims],
      joined((one) => one.noise),
    ),
    kept: f32(
      [n, dims],
      joined((one) => one.kept),
    ),
    previous: f32(
      [n, horizon, dims],
      joined((one) => one.previous),
    ),
    previous_weight: f32(
      [n, horizon],
      joined((one) => one.weight),
    ),
    previous_given: f32(
      [n, horizon],
      joined((one) => one.given),
    ),
    table: f32([LARGE_MAX_STEPS, 5], samplerTable(STEPS, 100, LARGE_MAX_STEPS)),
    steps: i64([], [STEPS]),
    reasoning: f32(
      [n, config.reasoning],
      joined((one) => one.reasoning),
    ),
  };
}

async function joinedRun(
  model: Model,
  kind: LargeGraph,
  robots: readonly Robot[],
  end: number,
): Promise<Values> {
  return model.parts.run(
    `${kind}/${robots.length}/${end}`,
    () =>
      largeGraph(kind, {
        config: model.config,
        signature: SIGNATURE,
        rows: robots.length,
        slots: SLOTS,
        special: { end, pad: PAD },
        lora: LORA,
      }),
    () => feedsOf(model, robots),
  );
}

/** Plain numbers. */
const affine = (w: Float32Array, b: Float32Array | undefined, x: Rows): Rows =>
  x.map((row) =>
    Array.from({ length: w.length / row.length }, (_, o) =>
      row.reduce((sum, value, i) => sum + value * (w[o * row.length + i] ?? NaN), b?.[o] ?? 0),
    ),
  );
/** Banks hold [in, out]. */
const affineIn = (w: Float32Array, b: Float32Array, x: Rows): Rows =>
  x.map((row) =>
    Array.from(b, (shift, o) =>
      row.reduce((sum, value, i) => sum + value * (w[i * b.length + o] ?? NaN), shift),
    ),
  );
const gelu = (x: number): number =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const each = (x: Rows, f: (value: number) => number): Rows => x.map((row) => row.map(f));
const layerNorm = (w: Float32Array, b: Float32Array, x: Rows): Rows =>
  x.map((row) => {
    const mean = row.reduce((sum, v) => sum + v, 0) / row.length;
    const spread = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / row.length;
    return row.map(
      (v, i) => ((v - mean) / Math.sqrt(spread + 1e-5)) * (w[i] ?? NaN) + (b[i] ?? NaN),
    );
  });
const mean = (x: Rows): number[] =>
  (x[0] ?? []).map((_, i) => x.reduce((sum, row) => sum + (row[i] ?? NaN), 0) / x.length);
const rowsOf = (data: ArrayLike<number | bigint>, width: number): Rows =>
  Array.from({ length: data.length / width }, (_, r) =>
    Array.from({ length: width }, (__, c) => Number(data[r * width + c])),
  );
const flat = (x: Rows): Float32Array => Float32Array.from(x.flat());

/** One robot by the parts. */
class Apart {
  private readonly model: Model;
  private readonly robot: Robot;

  constructor(model: Model, robot: Robot) {
    this.model = model;
    this.robot = robot;
  }

  private at(name: string): Float32Array {
    const found = this.model.shared.get(name);
    if (found === undefined) throw new RangeError(`no ${name}`);
    return found;
  }

  private ofHead(name: string): Float32Array {
    const found = this.model.head.get(`head.${name}`)?.[this.robot.slot];
    if (found === undefined) throw new RangeError(`no head.${name}`);
    return found;
  }

  private dense(name: string, x: Rows): Rows {
    return affine(this.at(`${name}.weight`), this.at(`${name}.bias`), x);
  }

  private mlp(name: string, x: Rows): Rows {
    return this.dense(`${name}.out`, each(this.dense(`${name}.in`, x), gelu));
  }

  private headMlp(name: string, x: Rows): Rows {
    const layer = (part: string, from: Rows): Rows =>
      affineIn(this.ofHead(`${name}.${part}.weight`), this.ofHead(`${name}.${part}.bias`), from);
    return layer('out', each(layer('in', x), gelu));
  }

  /** Weights of a part's own graph. */
  private feeds(specs: readonly ParamSpec[], change: Weights = new Map()): Values {
    return Object.fromEntries(
      specs.map(({ name, shape }) => [
        name,
        f32(shape, change.get(name) ?? this.model.shared.get(name) ?? new Float32Array()),
      ]),
    );
  }

  private async features(view: number): Promise<Rows> {
    const { vision } = this.model.config;
    const side = imageSide(this.model.config);
    const { images } = inputsOf(this.model.config, this.robot);
    const rgb = images.slice(view * side ** 2 * 3, (view + 1) * side ** 2 * 3);
    if (vision.kind === 'siglip') {
      const pixels = f32([1, 3, side, side], scaledPlanes(rgb, SIGLIP_SCALE));
      const seen = await this.model.parts.run(
        'eyes',
        (graph, params) => {
          const given = graph.input('pixels', 'float32', pixels.shape);
          graph.output('y', siglip(params.scope('vision_model'), vision.shape, given).last);
          return graph;
        },
        (specs) => ({ ...this.feeds(specs), pixels }),
      );
      return rowsOf(seen['y']?.data as Float32Array, vision.shape.hidden);
    }
    const { shape } = vision;
    const cells = TOWER_IMAGE / shape.patch;
    const data = qwenPatches(rgb, { width: side, height: side }, shape, QWEN2_VL_SCALE);
    const patches = f32([cells ** 2, data.length / cells ** 2], data);
    const seen = await this.model.parts.run(
      'eyes',
      (graph, params) => {
        const grids = [{ time: 1, height: cells, width: cells }];
        const given = graph.input('patches', 'float32', patches.shape);
        graph.output('y', qwenVision(params.scope('visual'), shape, grids, given).merged);
        return graph;
      },
      (specs) => ({ ...this.feeds(specs), patches }),
    );
    return rowsOf(seen['y']?.data as Float32Array, shape.out);
  }

  private resampled(features: Rows, kind: 'external' | 'wrist'): Rows {
    const own = 'divla.resampler';
    const width = features[0]?.length ?? 0;
    const { heads } = this.model.config.vision.shape;
    const norm = (name: string, x: Rows): Rows =>
      layerNorm(this.at(`${own}.${name}.weight`), this.at(`${own}.${name}.bias`), x);
    const queries = rowsOf(this.at(`${own}.queries.${kind}`), width);
    const memory = norm('norm', features);
    const q = this.dense(`${own}.attention.q`, queries);
    const k = this.dense(`${own}.attention.k`, memory);
    const v = this.dense(`${own}.attention.v`, memory);
    const size = width / heads;
    const mixed = q.map((asking) =>
      asking.map((_, n) => {
        const head = Math.floor(n / size) * size;
        const scores = k.map((key) => {
          let dot = 0;
          for (let i = head; i < head + size; i += 1) dot += (asking[i] ?? NaN) * (key[i] ?? NaN);
          return Math.exp(dot / Math.sqrt(size));
        });
        const total = scores.reduce((a, b) => a + b, 0);
        return scores.reduce((sum, score, t) => sum + (score / total) * (v[t]?.[n] ?? NaN), 0);
      }),
    );
    const found = this.dense(`${own}.attention.out`, mixed);
    const settled = found.map((row, t) => row.map((value, i) => value + (queries[t]?.[i] ?? NaN)));
    return this.dense('divla.project', norm('settled', settled));
  }

  /** The language model's weights with the robot's adapter merged into them. */
  private merged(): Weights {
    const merged = new Map<string, Float32Array>();
    for (const name of this.model.lora.keys()) {
      if (!name.endsWith('.lora_A')) continue;
      const layer = name.slice('lora.'.length, -'.lora_A'.length);
      const half = (part: string): Float32Array => {
        const data = this.model.lora.get(`lora.${layer}.${part}`)?.[this.robot.slot];
        if (data === undefined) throw new RangeError(`no ${part} of ${layer}`);
        return data;
      };
      const turned = (data: Float32Array, columns: number): Float32Array => {
        const rows = data.length / columns;
        return data.map((_, i) => data[(i % rows) * columns + Math.floor(i / rows)] ?? NaN);
      };
      const a = turned(half('lora_A'), LORA.rank);
      const b = turned(half('lora_B'), half('lora_B').length / LORA.rank);
      merged.set(`${layer}.weight`, mergeLora(LORA, this.at(`${layer}.weight`), a, b));
    }
    return merged;
  }

  /** Final states of a whole sequence, and the logits behind its last token; nothing reads what fills it up. */
  private async read(
    x: Rows,
    positions: readonly number[],
  ): Promise<{ states: Rows; logits: number[] }> {
    const { language } = this.model.config;
    const { hidden, positionAxes, vocabulary } = language.shape;
    const length = LONGEST;
    const filled = Array.from({ length }, (_, t) => x[t] ?? new Array<number>(hidden).fill(0));
    const counted = Array.from({ length }, (_, t) => positions[t] ?? 0);
    const got = await this.model.parts.run(
      'language',
      (graph, params) => {
        const out = language.decode(params, {
          x: graph.input('x', 'float32', [1, length, hidden]),
          positions: graph.input('positions', 'int64', [positionAxes, 1, length]),
          mask: causalBias(graph, length, length),
        });
        graph.output('states', out.hidden);
        graph.output('logits', language.logits(params, out.hidden));
        return graph;
      },
      (specs) => ({
        ...this.feeds(specs, this.merged()),
        x: f32([1, length, hidden], flat(filled)),
        positions: i64(
          [positionAxes, 1, length],
          Array.from({ length: positionAxes }, () => counted).flat(),
        ),
      }),
    );
    return {
      states: rowsOf(got['states']?.data as Float32Array, hidden),
      logits: rowsOf(got['logits']?.data as Float32Array, vocabulary)[x.length - 1] ?? [],
    };
  }

  private embedded(ids: readonly number[]): Rows {
    const { hidden } = this.model.config.language.shape;
    const table = rowsOf(this.at('model.embed_tokens.weight'), hidden);
    return ids.map((id) => table[id] ?? []);
  }

  /** The reasoning, each token chosen by reading everything before it once more. */
  async reason(end: number): Promise<{ tokens: number[]; reasoning: number[]; pooled: number[] }> {
    const { config } = this.model;
    const { external, wrist } = config.tokens;
    const x: Rows = [];
    const positions: number[] = [];
    const see = async (view: number, kind: 'external' | 'wrist', start: number): Promise<void> => {
      if (this.robot.present[view] !== 1) return;
      const tokens = this.resampled(await this.features(view), kind);
      x.push(...tokens);
      positions.push(...tokens.map((_, i) => start + i));
    };
    await see(0, 'external', 0);
    await see(1, 'wrist', external);
    x.push(...this.embedded(this.robot.tokens));
    positions.push(...this.robot.tokens.map((_, i) => external + wrist + i));
    const count = x.length;
    const tokens: number[] = [];
    let { states, logits } = await this.read(x, positions);
    while (tokens.length < SIGNATURE.reasoningTokens) {
      const best = logits.indexOf(Math.max(...logits));
      if (best === end) break;
      tokens.push(best);
      x.push(...this.embedded([best]));
      positions.push(external + wrist + this.robot.tokens.length + tokens.length - 1);
      ({ states, logits } = await this.read(x, positions));
    }
    const pooled = mean(states.slice(0, count));
    const spoken =
      tokens.length === 0 ? pooled.map(() => 0) : mean(states.slice(count, count + tokens.length));
    const [prompt = []] = this.mlp('divla.inject.prompt', [pooled]);
    const [said = []] = this.mlp('divla.inject.spoken', [spoken]);
    return { tokens, pooled, reasoning: prompt.map((value, i) => value + (said[i] ?? NaN)) };
  }

  /** A chunk that a reasoning drives. */
  async act(pooled: number[], reasoning: number[]): Promise<Rows> {
    const { config } = this.model;
    const own = inputsOf(config, this.robot);
    const [state = []] = this.headMlp('state', [[...own.state, ...own.command, ...own.known]]);
    const normed = layerNorm(
      this.at('divla.condition.norm.weight'),
      this.at('divla.condition.norm.bias'),
      [pooled],
    );
    const condition = this.dense('divla.condition.join', [[...(normed[0] ?? []), ...state]]);
    const { dims } = config.head;
    const previous = rowsOf(own.previous, dims);
    const set = (x: Rows): Rows =>
      x.map((row, t) => (own.given[t] === 1 ? (previous[t] ?? []) : row));
    let x = set(rowsOf(own.noise, dims));
    for (let i = STEPS - 1; i >= 0; i -= 1) {
      const stride = Math.floor(100 / STEPS);
      const [t, before] = [i * stride, (i - 1) * stride];
      const [bar, barBefore] = [barOf(t), before < 0 ? 1 : barOf(before)];
      const found = await this.noiseIn(x, t, flat(condition), reasoning);
      const next = x.map((row, step) =>
        row.map((value, d) => {
          const eps = found[step]?.[d] ?? NaN;
          const clean = Math.max(
            -1,
            Math.min(1, (value - Math.sqrt(1 - bar) * eps) / Math.sqrt(bar)),
          );
          const weight = own.weight[step] ?? NaN;
          const turned = clean + weight * ((previous[step]?.[d] ?? NaN) - clean);
          const left = eps - (turned - clean) * Math.sqrt(bar / (1 - bar));
          const moved = Math.sqrt(barBefore) * turned + Math.sqrt(1 - barBefore) * left;
          return moved * (own.kept[d] ?? NaN);
        }),
      );
      x = set(next);
    }
    return x;
  }

  /** What the published U-Net says with the reasoning's modulation folded into its blocks' own. */
  private async noiseIn(
    x: Rows,
    t: number,
    condition: Float32Array,
    reasoning: number[],
  ): Promise<Rows> {
    const { decoder } = this.model.config;
    const encoded = this.headMlp('encode', x);
    const folded = new Map<string, Float32Array>();
    for (const name of this.model.shared.keys()) {
      const block = /^(.*)\.cond_encoder\.1\.weight$/.exec(name)?.[1];
      if (block === undefined) continue;
      const [film = []] = this.dense(`${block}.reasoning`, [reasoning]);
      const width = film.length / 2;
      const weight = this.at(name);
      const bias = this.at(name.replace(/weight$/, 'bias'));
      const inner = weight.length / bias.length;
      const scale = (o: number): number => 1 + (film[o % width] ?? NaN);
      const shift = (o: number): number => (o < width ? 0 : (film[o] ?? NaN));
      folded.set(
        name,
        weight.map((value, i) => value * scale(Math.floor(i / inner))),
      );
      folded.set(
        name.replace(/weight$/, 'bias'),
        bias.map((value, o) => value * scale(o) + shift(o)),
      );
    }
    const got = await this.model.parts.run(
      'unet',
      (graph, params) => {
        const y = conditionalUnet1d(
          params.scope('divla.decoder'),
          decoder,
          graph.input('x', 'float32', [1, x.length, decoder.actions]),
          graph.input('t', 'float32', [1]),
          graph.input('c', 'float32', [1, condition.length]),
        );
        graph.output('y', y);
        return graph;
      },
      (specs) => ({
        ...this.feeds(specs, folded),
        x: f32([1, x.length, decoder.actions], flat(encoded)),
        t: f32([1], Float32Array.of(t)),
        c: f32([1, condition.length], condition),
      }),
    );
    return this.headMlp('decode', rowsOf(got['y']?.data as Float32Array, decoder.actions));
  }
}

/** ā after step t, as the paper writes it. */
function barOf(t: number): number {
  const bar = (u: number): number => Math.cos((((u + 0.008) / 1.008) * Math.PI) / 2) ** 2;
  return Array.from(
    { length: t + 1 },
    (_, i) => 1 - Math.min(1 - bar((i + 1) / 100) / bar(i / 100), 0.999),
  ).reduce((product, keep) => product * keep, 1);
}

function largest(got: ArrayLike<number>, want: ArrayLike<number>): number {
  expect(got.length).toBe(want.length);
  return Math.max(...Array.from(want, (value, i) => Math.abs(value - (got[i] ?? NaN))));
}

const row = (value: Value | undefined, r: number, rows: number): number[] => {
  const data = Array.from(value?.data ?? [], Number);
  return data.slice((r * data.length) / rows, ((r + 1) * data.length) / rows);
};

describe.each([
  ['qwen2_vl', 'siglip'],
  ['qwen2_vl', 'qwen2-vl'],
  ['llama', 'siglip'],
] as const)('%s that sees through %s', (language, vision) => {
  it('reasons and acts as its parts do, each robot of a mixed batch on its own', async () => {
    const model = await modelOf(language, vision);
    const first = await new Apart(model, ROBOTS[1]).reason(NEVER);
    // One robot ends early, at a token that it would say.
    const end = first.tokens.at(-1) ?? NEVER;
    const together = await joinedRun(model, 'reason_and_act', ROBOTS, end);
    const apart = await joinedRun(model, 'reason', ROBOTS, end);
    const acted = await joinedRun(model, 'act', ROBOTS, end);
    const said = together['reasoning_tokens'];
    expect(apart['reasoning_tokens']?.data).toEqual(said?.data);
    const width = said?.shape[1] ?? 0;
    const lengths = new Set<number>();
    for (const [r, robot] of ROBOTS.entries()) {
      const want = new Apart(model, robot);
      const { tokens, reasoning, pooled } = await want.reason(end);
      lengths.add(tokens.length);
      const padded = Array.from({ length: width }, (_, i) => tokens[i] ?? PAD);
      expect(row(said, r, ROBOTS.length)).toEqual(padded);
      expect(largest(row(together['reasoning'], r, ROBOTS.length), reasoning)).toBeLessThan(
        TOLERANCE,
      );
      expect(largest(row(apart['reasoning'], r, ROBOTS.length), reasoning)).toBeLessThan(TOLERANCE);
      const chunk = await want.act(pooled, reasoning);
      expect(largest(row(together['actions'], r, ROBOTS.length), flat(chunk))).toBeLessThan(
        TOLERANCE,
      );
      const own = Array.from(inputsOf(model.config, robot).reasoning);
      const driven = await want.act(pooled, own);
      expect(largest(row(acted['actions'], r, ROBOTS.length), flat(driven))).toBeLessThan(
        TOLERANCE,
      );
      // What is injected changes what is done.
      expect(largest(flat(driven), flat(chunk))).toBeGreaterThan(100 * TOLERANCE);
    }
    expect(lengths.size).toBeGreaterThan(1);
  });
});

it('a batch in every order equals its rows alone', async () => {
  const model = await modelOf('qwen2_vl', 'siglip');
  const alone: Values[] = [];
  for (const robot of ROBOTS) alone.push(await joinedRun(model, 'act', [robot], NEVER));
  for (const order of [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ]) {
    const robots = order.map((i) => ROBOTS[i]).filter((robot) => robot !== undefined);
    const mixed = await joinedRun(model, 'act', robots, NEVER);
    for (const [place, i] of order.entries()) {
      const want = row(alone[i]?.['actions'], 0, 1);
      expect(largest(row(mixed['actions'], place, order.length), want)).toBeLessThan(1e-4);
    }
  }
});

it('sizes that no graph can be built for are named', async () => {
  const { config } = await modelOf('qwen2_vl', 'qwen2-vl');
  const options = { config, signature: SIGNATURE, rows: 1, slots: 1, special: { end: 0, pad: 0 } };
  const asked = (change: Partial<typeof SIGNATURE>) => () =>
    largeGraph('act', { ...options, signature: { ...SIGNATURE, ...change } });
  expect(asked({ horizon: 3 })).toThrow('horizon');
  expect(asked({ external: 0, wrist: 0 })).toThrow('views');
  expect(asked({ reasoningTokens: 0 })).toThrow('reasoningTokens');
});
