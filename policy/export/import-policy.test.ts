import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hold } from '../../test/support/parity.ts';
import { openReference, runOnce } from '../../test/support/tiny-models.ts';
import { TINY_OWN, TINY_SIGNATURE } from '../../test/support/tiny-large.ts';
import {
  languageModel,
  languageName,
  modelWeights,
  siglipName,
  type HuggingFaceModel,
} from '../backbones/index.ts';
import { fromFloat32, openSafetensors, writeSafetensors } from '../checkpoint/index.ts';
import { seeded } from '../data/index.ts';
import { samplerTable } from '../divla/index.ts';
import {
  imageSide,
  isBank,
  largeGraph,
  largeParams,
  type LargeGraph,
} from '../divla/large/index.ts';
import { Engine, type Value, type Values } from '../engine/index.ts';
import { elements, initialValues } from '../nn/params.ts';
import { languageParameters } from '../plan/index.ts';
import { toHalf } from '../tensor/index.ts';
import {
  ExportError,
  freshHead,
  isJoinable,
  modelBytes,
  planPolicy,
  policyConfig,
  restOf,
  writeWeightData,
  type ImportPlan,
  type PolicySizes,
  type WeightFormat,
} from './index.ts';

/** Imported policies as files against the same graphs with the folders' weights fed to them in float32. */

const language = await openReference('qwen2-vl-tiny', 'folder');
const vision = await openReference('siglip-tiny', 'folder-full');
const DATA = 'model.data';
const [SLOTS, ROWS] = [2, 2];
const SIZES: PolicySizes = {
  batch: ROWS,
  signature: TINY_SIGNATURE,
  imageSize: 56,
  slots: SLOTS,
  own: TINY_OWN,
  seed: 3,
  lora: { rank: 2, scaling: 1, targets: ['q_proj', 'down_proj'] },
};
/** A tiny Llama of random weights, as a folder holds it. */
async function tinyLlama(): Promise<HuggingFaceModel> {
  const config = {
    model_type: 'llama',
    hidden_size: 24,
    intermediate_size: 40,
    num_hidden_layers: 2,
    num_attention_heads: 6,
    num_key_value_heads: 2,
    vocab_size: 450,
    rms_norm_eps: 1e-5,
    hidden_act: 'silu',
    attention_bias: false,
    tie_word_embeddings: false,
    rope_theta: 500_000,
    eos_token_id: [7, 8],
  };
  const specs = languageParameters(languageModel(config));
  const tensors = specs.map(
    (spec) => [spec.name, fromFloat32(initialValues(spec, 1), spec.shape, 'F32')] as const,
  );
  const bytes = writeSafetensors(new Map(tensors));
  const file = await openSafetensors({
    size: bytes.length,
    read: async (offset, length) => bytes.slice(offset, offset + length),
  });
  return {
    config,
    tensors: new Map(specs.map(({ name }) => [name, file])),
    read: (name, range) => file.read(name, range),
  };
}
const folders = { qwen2_vl: language, llama: await tinyLlama() } as const;
type Family = keyof typeof folders;

let engine: Engine;
let scratch: string;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'policy' });
  scratch = await mkdtemp(path.join(os.tmpdir(), 'policy-'));
});
afterAll(async () => {
  await engine.close();
  await rm(scratch, { recursive: true, force: true });
});

function planOf(
  weights: WeightFormat,
  change: Partial<PolicySizes> = {},
  family: Family = 'qwen2_vl',
): ImportPlan {
  const store = { weights, rest: restOf(weights) };
  return planPolicy({ language: folders[family], vision }, store, { ...SIZES, ...change }, DATA);
}

/** What two robots send, and banks of heads and adapters; the same for every format. */
function inputs(half: boolean, family: Family): Values {
  const config = policyConfig({ language: folders[family], vision }, SIZES);
  const specs = largeParams(config, SIZES.lora);
  const head = freshHead({ seed: SIZES.seed, head: specs.head });
  const random = seeded(17);
  const floats = (shape: readonly number[], value: (i: number) => number): Value => ({
    dtype: 'float32',
    shape,
    data: Float32Array.from({ length: elements(shape) }, (_, i) => value(i)),
  });
  const wholes = (shape: readonly number[], value: (i: number) => number): Value => ({
    dtype: 'int64',
    shape,
    data: BigInt64Array.from({ length: elements(shape) }, (_, i) => BigInt(value(i))),
  });
  const { dims } = TINY_OWN.head;
  const { horizon, textTokens } = TINY_SIGNATURE;
  const banks = [...specs.head, ...specs.lora].map(({ name, shape }): [string, Value] => {
    const own = head.get(name)?.data;
    const bank = floats([SLOTS, ...shape], (i) =>
      own === undefined
        ? random.normal() / 8
        : (own[i % own.length] ?? NaN) * (i < own.length ? 1 : 0.7),
    );
    if (!half) return [name, bank];
    return [
      name,
      { ...bank, dtype: 'float16', data: Uint16Array.from(bank.data as Float32Array, toHalf) },
    ];
  });
  const side = imageSide(config);
  return {
    ...Object.fromEntries(banks),
    images: {
      dtype: 'uint8',
      shape: [ROWS, 2, side, side, 3],
      data: Uint8Array.from({ length: ROWS * 2 * side ** 2 * 3 }, () => random.integer(256)),
    },
    tokens: wholes([ROWS, textTokens], () => 10 + random.integer(400)),
    token_mask: floats([ROWS, textTokens], (i) => (i < 2 ? 0 : 1)),
    present: floats([ROWS, 2], (i) => (i === 3 ? 0 : 1)),
    slot: wholes([ROWS], (i) => 1 - i),
    state: floats([ROWS, dims], () => random.normal()),
    command: floats([ROWS, dims], () => random.normal()),
    known: floats([ROWS, 1], () => 1),
    noise: floats([ROWS, horizon, dims], () => random.normal()),
    kept: floats([ROWS, dims], () => 1),
    table: { dtype: 'float32', shape: [20, 5], data: samplerTable(4, 100, 20) },
    steps: wholes([], () => 4),
    previous: floats([ROWS, horizon, dims], () => 0),
    previous_weight: floats([ROWS, horizon], () => 0),
    previous_given: floats([ROWS, horizon], () => 0),
  };
}

/** Writes a plan's files and runs one of its graphs. @param more inputs of that graph alone */
async function runFiles(
  family: Family,
  plan: ImportPlan,
  kind: LargeGraph,
  more: Values = {},
): Promise<Values> {
  const at = await mkdtemp(path.join(scratch, `${family}-`));
  const handle = await open(path.join(at, DATA), 'wx');
  await writeWeightData(plan, { write: (bytes) => handle.appendFile(bytes) });
  await handle.close();
  const graph = plan.graphs.find((one) => one.name === kind)!;
  const file = path.join(at, 'policy.onnx');
  await writeFile(file, modelBytes(plan, graph));
  await engine.load(file, file, { prepack: false });
  try {
    const given = { ...inputs(plan.store.rest === 'float16', family), ...more };
    const wanted = new Set(graph.inputs.map(({ name }) => name));
    const feeds = Object.entries(given).filter(([name]) => wanted.has(name));
    return await engine.run(file, Object.fromEntries(feeds));
  } finally {
    await engine.unload(file);
  }
}

/** The same graph with its weights as inputs: the folders' own, and what the seed makes. */
async function runFed(family: Family): Promise<Values> {
  const language = folders[family];
  const config = policyConfig({ language, vision }, SIZES);
  const { shared } = largeParams(config);
  const feeds: Record<string, Value> = { ...inputs(false, family) };
  for (const spec of shared.filter(({ name }) => name.startsWith('divla.'))) {
    feeds[spec.name] = {
      dtype: 'float32',
      shape: spec.shape,
      data: initialValues(spec, SIZES.seed),
    };
  }
  const isEyes = (name: string): boolean => name.startsWith('vision_model.');
  const eyes = shared.filter(({ name }) => isEyes(name));
  const words = shared.filter(({ name }) => /^(model|lm_head)\./.test(name));
  const rename = (name: string): string => `vision_model.${siglipName(name, true) ?? ''}`;
  for await (const { name, shape, data } of modelWeights(vision, eyes, rename)) {
    feeds[name] = { dtype: 'float32', shape, data };
  }
  for await (const { name, shape, data } of modelWeights(language, words, languageName)) {
    feeds[name] = { dtype: 'float32', shape, data };
  }
  const end = Number([language.config['eos_token_id']].flat()[0]);
  const graph = largeGraph('reason_and_act', {
    config,
    signature: TINY_SIGNATURE,
    rows: ROWS,
    slots: SLOTS,
    special: { end, pad: end },
    ...(SIZES.lora === undefined ? {} : { lora: SIZES.lora }),
  });
  return runOnce(engine, graph, feeds);
}

/** Numbers of one row of a value [ROWS, …]. */
function rowOf(value: Value | undefined, row: number): number[] {
  const all = Array.from(value?.data ?? [], Number);
  return all.slice((row * all.length) / ROWS, ((row + 1) * all.length) / ROWS);
}

function relative(got: Value | undefined, want: Value | undefined): number {
  return relativeError(Array.from(got?.data ?? [], Number), Array.from(want?.data ?? [], Number));
}

function relativeError(a: readonly number[], b: readonly number[]): number {
  expect(a.length).toBe(b.length);
  const squares = b.reduce((sum, value) => sum + value * value, 0);
  const off = b.reduce((sum, value, i) => sum + (value - (a[i] ?? NaN)) ** 2, 0);
  return Math.sqrt(off / squares);
}

describe('an imported policy', () => {
  const label = (family: Family, weights: WeightFormat, detail: string) => ({
    fixture: `imported tiny policy, ${family}`,
    quantity: `${weights}, relative`,
    detail,
  });

  // Bounds on the root of the mean squared error over that of the values.
  it.each([
    ['qwen2_vl', 'float32', 1e-5],
    ['qwen2_vl', 'float16', 5e-3],
    ['llama', 'float32', 1e-5],
  ] as const)(
    '%s loaded by path reasons and acts in %s as its folders do',
    async (family, weights, bound) => {
      const got = await runFiles(family, planOf(weights, {}, family), 'reason_and_act');
      const want = await runFed(family);
      for (const name of ['reasoning', 'actions']) {
        const error = relative(got[name], want[name]);
        hold({ ...label(family, weights, name), error, tolerance: bound });
      }
      if (weights === 'float32') {
        expect(got['reasoning_tokens']?.data).toEqual(want['reasoning_tokens']?.data);
      }
    },
  );

  // With few bits another token may win, and what follows it is another reasoning: rows that say the same.
  it.each([
    ['int8', 0.05, 0.1],
    ['int4', 0.1, 0.4],
  ] as const)(
    'acts in %s as its folders do behind their reasoning',
    async (weights, most, bound) => {
      const plan = planOf(weights);
      const want = await runFed('qwen2_vl');
      const { reasoning } = want;
      if (reasoning === undefined) throw new RangeError('no reasoning');
      const acted = await runFiles('qwen2_vl', plan, 'act', { reasoning });
      const error = relative(acted['actions'], want['actions']);
      hold({ ...label('qwen2_vl', weights, 'actions'), error, tolerance: most });
      const said = await runFiles('qwen2_vl', plan, 'reason');
      for (let row = 0; row < ROWS; row += 1) {
        const [own, theirs] = [said, want].map((of) => rowOf(of['reasoning_tokens'], row));
        if (own?.join() !== theirs?.join()) continue;
        const error = relativeError(rowOf(said['reasoning'], row), rowOf(want['reasoning'], row));
        hold({ ...label('qwen2_vl', weights, `reasoning of row ${row}`), error, tolerance: bound });
      }
    },
  );

  it('is stored once, whatever the number of its graphs', () => {
    const plan = planOf('int4');
    expect(plan.graphs.map(({ name }) => name)).toEqual(['act', 'reason', 'reason_and_act']);
    const stored = new Set(plan.weights.flatMap(({ parts }) => parts.map(({ name }) => name)));
    for (const graph of plan.graphs) {
      expect(graph.externals.every(({ name }) => stored.has(name))).toBe(true);
    }
    expect(plan.weights.some(({ name }) => isBank(name))).toBe(false);
    const sources = new Set([...plan.origins.keys(), ...plan.fresh.specs.keys()]);
    expect(sources).toEqual(new Set(plan.weights.map(({ name }) => name)));
    const matrices = plan.weights.filter(({ format }) => format === 'int4');
    expect(matrices.every(({ name }) => name.startsWith('model.layers.'))).toBe(true);
  });

  it('sees through Qwen2-VL’s own tower as well', () => {
    expect(isJoinable({ language })).toBe(true);
    expect(isJoinable({ vision })).toBe(false);
    const plan = planPolicy({ language }, { weights: 'float32', rest: 'float32' }, SIZES, DATA);
    expect(plan.weights.some(({ name }) => name.startsWith('visual.'))).toBe(true);
  });

  it('names what does not fit', () => {
    const off = { signature: { ...TINY_SIGNATURE, horizon: 5 } };
    expect(() => planOf('float32', off)).toThrow(ExportError);
    const endless = { ...language, config: { ...language.config } };
    delete (endless.config as Record<string, unknown>)['eos_token_id'];
    delete (endless.config as Record<string, unknown>)['text_config'];
    expect(() =>
      planPolicy(
        { language: endless, vision },
        { weights: 'float32', rest: 'float32' },
        SIZES,
        DATA,
      ),
    ).toThrow();
  });
});
