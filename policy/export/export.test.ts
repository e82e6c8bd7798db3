import { open, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { feedOf, openReference } from '../../test/support/tiny-models.ts';
import { TINY_QWEN, readTinyQwen } from '../../test/support/tiny-qwen.ts';
import { readReference } from '../../test/support/parity.ts';
import { modelFolder } from '../../infra/models/model-folder.ts';
import { openModelFolder, qwenVisionShape, type HuggingFaceModel } from '../backbones/index.ts';
import { fromFloat32, toFloat32, writeSafetensors, type SafeTensor } from '../checkpoint/index.ts';
import { Engine, type Values } from '../engine/index.ts';
import { LARGE_PRESETS, languageParameters } from '../plan/index.ts';
import { Graph, fromHalf, gather, matmul, toOnnx } from '../tensor/index.ts';
import { modelProto } from '../tensor/onnx-schema.ts';
import { encode } from './encode.ts';
import {
  ExportError,
  StoredWeights,
  modelBytes,
  planImport,
  planReference,
  restOf,
  writeWeightData,
  type ImportPlan,
  type ModelSources,
  type StoredWeight,
  type WeightFormat,
} from './index.ts';

const tiny = await readTinyQwen();
const folder = await openReference(TINY_QWEN, 'folder');
const merged = tiny.outputs.at('vision.merged');
const visual = (merged.shape[0] ?? 0) / tiny.rows;
const SIZES = {
  batch: tiny.rows,
  views: 1,
  imageSize: 56,
  visualTokens: visual,
  textTokens: tiny.length - visual,
  reasoningTokens: tiny.outputs.at('generated_ids').shape[1] ?? 0,
};
const DATA = 'model.data';

let engine: Engine;
let scratch: string;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'export' });
  scratch = await mkdtemp(path.join(os.tmpdir(), 'export-'));
});
afterAll(async () => {
  await engine.close();
  await rm(scratch, { recursive: true, force: true });
});

function planOf(weights: WeightFormat, sources: ModelSources = { language: folder }): ImportPlan {
  return planImport(sources, { weights, rest: restOf(weights) }, SIZES, DATA);
}

/** Writes a plan's files. @returns their folder, and the errors that were told. */
async function write(name: string, plan: ImportPlan) {
  const at = await mkdtemp(path.join(scratch, `${name}-`));
  const handle = await open(path.join(at, DATA), 'wx');
  const { errors } = await writeWeightData(plan, { write: (bytes) => handle.appendFile(bytes) });
  await handle.close();
  for (const graph of plan.graphs) {
    await writeFile(path.join(at, `${graph.name}.onnx`), modelBytes(plan, graph));
  }
  return { at, errors };
}

async function runFile(file: string, feeds: Values): Promise<Values> {
  await engine.load(file, file);
  try {
    return await engine.run(file, feeds);
  } finally {
    await engine.unload(file);
  }
}

function languageFeeds(): Values {
  const feeds = tiny.feeds(qwenVisionShape(folder.config).merge);
  return {
    ids: feeds['input_ids']!,
    keep: feeds['attention_mask']!,
    positions: feeds['positions']!,
    places: feeds['places']!,
    start: feeds['start']!,
    visual: feedOf(merged),
  };
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i += 1) {
    ab += a[i]! * b[i]!;
    aa += a[i]! ** 2;
    bb += b[i]! ** 2;
  }
  return ab / Math.sqrt(aa * bb);
}

describe('a language model loaded by path', () => {
  it('says in float32 what the reference says', async () => {
    const { at } = await write('exact', planOf('float32'));
    const said = await runFile(path.join(at, 'language.onnx'), languageFeeds());
    expect(said['ids_out']?.data).toEqual(tiny.outputs.at('generated_ids').data);
    const want = tiny.outputs.at('generated_logits').data as Float32Array;
    const got = said['logits']?.data as Float32Array;
    const off = Math.max(...want.map((value, i) => Math.abs(value - (got[i] ?? NaN))));
    expect(off).toBeLessThanOrEqual(tiny.meta.tolerance['generated_logits'] ?? 0);
  });

  // Random weights keep little of what matters apart: rounding adds up over the reference's layers.
  it.each([
    ['float16', 0.99999],
    ['int8', 0.99],
    ['int4', 0.9],
  ] as const)('is near float32 in %s', async (weights, bound) => {
    const { at, errors } = await write(weights, planOf(weights));
    const said = await runFile(path.join(at, 'language.onnx'), languageFeeds());
    const want = tiny.outputs.at('hidden.norm').data as Float32Array;
    const got = said['hidden']?.data as Float32Array;
    const real = (_: number, i: number) => tiny.isReal(i, want.length / tiny.rows / tiny.length);
    expect(cosine(want.filter(real), got.filter(real))).toBeGreaterThan(bound);
    expect([...errors.values()].every(({ rms }) => rms < 0.15)).toBe(true);
  });
});

describe('a folder of float16', () => {
  /** The reference's folder with its weights in half precision, on the disk. */
  async function halfFolder(): Promise<HuggingFaceModel> {
    const at = await mkdtemp(path.join(scratch, 'half-'));
    const tensors = new Map<string, SafeTensor>();
    for (const name of folder.tensors.keys()) {
      const source = await folder.read(name);
      tensors.set(name, fromFloat32(toFloat32(source), source.shape, 'F16'));
    }
    await writeFile(path.join(at, 'config.json'), JSON.stringify(folder.config));
    await writeFile(path.join(at, 'model.safetensors'), writeSafetensors(tensors));
    return openModelFolder(await modelFolder(at));
  }

  it.each(['float16', 'float32'] as const)('is stored bit for bit in %s', async (weights) => {
    const half = await halfFolder();
    const plan = planOf(weights, { language: half });
    const { at, errors } = await write('half', plan);
    const file = await readFile(path.join(at, DATA));
    expect(plan.weights.some(({ format }) => format === weights)).toBe(true);
    for (const { name, format } of plan.weights) {
      const source = await half.read(plan.origins.get(name)?.tensor ?? name);
      const { offset = NaN, length } = plan.places.get(name) ?? {};
      const bits = source.data as Uint16Array;
      const expected = format === 'float16' ? bits.slice() : Float32Array.from(bits, fromHalf);
      const stored = file.subarray(offset, offset + (length ?? NaN));
      expect(stored.equals(Buffer.from(expected.buffer)), name).toBe(true);
      expect(errors.get(name)).toEqual({ max: 0, rms: 0 });
    }
    const said = await runFile(path.join(at, 'language.onnx'), languageFeeds());
    const want = tiny.outputs.at('hidden.norm').data as Float32Array;
    const got = said['hidden']?.data as Float32Array;
    const real = (_: number, i: number) => tiny.isReal(i, want.length / tiny.rows / tiny.length);
    expect(cosine(want.filter(real), got.filter(real))).toBeGreaterThan(0.99999);
  });
});

it('SigLIP sees by path what the reference sees', async () => {
  const vision = await openReference('siglip-tiny', 'folder-full');
  const inputs = await readReference('siglip-tiny', 'inputs.safetensors');
  const outputs = await readReference('siglip-tiny', 'outputs.safetensors');
  const { at } = await write('siglip', planOf('float32', { vision }));
  const feeds = { pixels: feedOf(inputs.at('pixel_values')) };
  const seen = await runFile(path.join(at, 'vision.onnx'), feeds);
  const want = outputs.at('last_hidden_state').data as Float32Array;
  const got = seen['tokens']?.data as Float32Array;
  expect(Math.max(...want.map((value, i) => Math.abs(value - got[i]!)))).toBeLessThan(1e-4);
});

describe('quantised weights', () => {
  const name = 'model.layers.0.mlp.down_proj.weight';
  const [out = 0, inner = 0] = weightOf(planOf('float32')).shape;
  // The last block of a row is not full where the inputs are no multiple of 32.
  const blocks = Math.ceil(inner / 32);

  function weightOf(plan: ImportPlan): StoredWeight {
    const weight = plan.weights.find((one) => one.name === name);
    if (weight === undefined) throw new RangeError(`the fixture has no ${name}`);
    return weight;
  }

  /** The weight as its bytes in the data file say, by nothing of the house's own code. */
  function dequantised(plan: ImportPlan, bytes: Buffer): Float32Array {
    const weight = weightOf(plan);
    const [data, scales] = weight.parts.map((part) => {
      const { offset, length } = plan.places.get(part.name)!;
      return bytes.subarray(offset, offset + length);
    }) as [Buffer, Buffer];
    return Float32Array.from({ length: out * inner }, (_, n) => {
      const [row, column] = [Math.floor(n / inner), n % inner];
      if (weight.format === 'int8') {
        return data.readInt8(column * out + row) * scales.readFloatLE(4 * row);
      }
      const block = row * blocks + Math.floor(column / 32);
      const pair = data[block * 16 + Math.floor((column % 32) / 2)]!;
      const level = column % 2 === 0 ? pair % 16 : Math.floor(pair / 16);
      return (level - 8) * fromHalf(scales.readUInt16LE(2 * block));
    });
  }

  it.each(['int8', 'int4'] as const)(
    'multiply in the runtime as their bytes say: %s',
    async (weights) => {
      const plan = planOf(weights);
      const { at, errors } = await write('bytes', plan);
      const values = dequantised(plan, await readFile(path.join(at, DATA)));
      const store = new StoredWeights(plan.store);
      const graph = new Graph('product');
      const { params, project } = store.reader(graph);
      const x = graph.input('x', 'float32', [inner, inner]);
      const scope = params.scope(name.replace(/\.weight$/, ''));
      graph.output('y', project(scope, x, out, false));
      const file = path.join(at, 'product.onnx');
      await writeFile(file, modelBytes(plan, graph));
      const one = Float32Array.from({ length: inner ** 2 }, (_, i) => (i % (inner + 1) ? 0 : 1));
      const { y } = await runFile(file, {
        x: { dtype: 'float32', shape: [inner, inner], data: one },
      });
      const got = y?.data as Float32Array;
      const largest = Math.max(...values.map(Math.abs));
      // Half precision rounds the results of int4.
      const tolerance = largest * (weights === 'int4' ? 2 ** -10 : 1e-5);
      values.forEach((value, n) => {
        const [row, column] = [Math.floor(n / inner), n % inner];
        expect(Math.abs(got[column * out + row]! - value)).toBeLessThanOrEqual(tolerance);
      });
      // The error that is told is the error of these bytes.
      const source = toFloat32(await folder.read(plan.origins.get(name)!.tensor));
      const differences = source.map((value, i) => value - values[i]!);
      const told = errors.get(name)!;
      expect(told.rms).toBeCloseTo(Math.sqrt(cosineNorm(differences) / cosineNorm(source)), 5);
      expect(told.max).toBeCloseTo(
        Math.max(...differences.map(Math.abs)) / Math.max(...source.map(Math.abs)),
        5,
      );
    },
  );

  function cosineNorm(values: Float32Array): number {
    return values.reduce((sum, value) => sum + value * value, 0);
  }
});

describe('the data file', () => {
  it('of 7b is laid out by pages far over 2 GB, and its places are whole numbers as text', () => {
    const { language } = LARGE_PRESETS['7b'];
    const entries = new Map(
      languageParameters(language).map(({ name, shape }) => [
        name,
        { dtype: 'BF16' as const, shape, begin: 0, end: 0 },
      ]),
    );
    const refuse = async (): Promise<never> => Promise.reject(new Error('headers alone are read'));
    const file = { entries, metadata: {}, read: refuse };
    const config = {
      model_type: 'qwen2_vl',
      hidden_size: 3584,
      intermediate_size: 18_944,
      num_hidden_layers: 28,
      num_attention_heads: 28,
      num_key_value_heads: 4,
      vocab_size: 152_064,
      rms_norm_eps: 1e-6,
      hidden_act: 'silu',
      rope_theta: 1_000_000,
      rope_scaling: { type: 'mrope', mrope_section: [16, 24, 24] },
      tie_word_embeddings: false,
    };
    const tensors = new Map([...entries.keys()].map((key) => [key, file]));
    const plan = planReference({ config, tensors, read: refuse }, DATA);
    expect(plan.size).toBeGreaterThan(4 * plan.parameters);
    expect(plan.parameters).toBe(7_615_616_512);
    expect([...plan.places.values()].every(({ offset }) => offset % 4096 === 0)).toBe(true);
    const bytes = modelBytes(plan, plan.reading!.graph);
    expect(bytes.byteLength).toBeLessThan(2 ** 20);
    const model = modelProto.toObject(modelProto.decode(bytes)) as {
      graph: { initializer: { name: string; external_data?: { key: string; value: string }[] }[] };
    };
    const last = model.graph.initializer.find(({ name }) => name === 'lm_head.weight');
    const place = plan.places.get('lm_head.weight')!;
    expect(place.offset).toBeGreaterThan(2 ** 34);
    expect(last?.external_data).toContainEqual({ key: 'offset', value: String(place.offset) });
  });

  it('of more than 2 GB is read where its weights lie: one behind 2^31 bytes, one that is larger', async () => {
    const width = 1024;
    const rows = 2 ** 31 / (4 * width) + 3;
    const table = { location: 'large.data', offset: 4096, length: rows * width * 4 };
    const end = Math.ceil((table.offset + table.length) / 4096) * 4096;
    const matrix = { location: 'large.data', offset: end, length: 2 * width * 4 };
    const places: Readonly<Record<string, typeof table>> = { table, matrix };
    // A file of holes takes no room on the disk: what is not written is zero.
    const handle = await open(path.join(scratch, 'large.data'), 'wx');
    await handle.truncate(matrix.offset + matrix.length);
    const last = Float32Array.from({ length: width }, (_, i) => Math.sin(i));
    await handle.write(bytesOf(last), 0, width * 4, table.offset + (rows - 1) * width * 4);
    const turned = Float32Array.from({ length: 2 * width }, (_, i) => Math.cos(i));
    await handle.write(bytesOf(turned), 0, 2 * width * 4, matrix.offset);
    expect((await handle.stat()).blocks * 512).toBeLessThan(2 ** 20);
    await handle.close();
    const graph = new Graph('large');
    const chosen = gather(
      graph.external('table', 'float32', [rows, width]),
      graph.input('ids', 'int64', [2]),
    );
    graph.output('y', matmul(chosen, graph.external('matrix', 'float32', [width, 2])));
    const file = path.join(scratch, 'large.onnx');
    await writeFile(
      file,
      toOnnx(graph, {
        external(name) {
          const place = places[name];
          if (place === undefined) throw new RangeError(`${name} has no place`);
          return place;
        },
      }),
    );
    const data = BigInt64Array.of(BigInt(rows - 1), 0n);
    const { y } = await runFile(file, { ids: { dtype: 'int64', shape: [2], data } });
    const product = [0, 1].map((column) =>
      last.reduce((sum, value, i) => sum + value * turned[2 * i + column]!, 0),
    );
    expect(matrix.offset).toBeGreaterThan(2 ** 31);
    [...product, 0, 0].forEach((value, i) => expect(y?.data[i]).toBeCloseTo(value, 3));
  });

  it('is not made of weights that are no numbers, or too large for float16', async () => {
    const weight = (value: number, format: WeightFormat) =>
      encode(
        {
          name: 'w',
          shape: [1, 2],
          format,
          parts: [{ name: 'w', dtype: 'float32', shape: [1, 2] }],
        },
        async () => ({ dtype: 'F32', shape: [2], data: Float32Array.of(1, value) }),
        async () => undefined,
        async () => undefined,
      );
    await expect(weight(NaN, 'float32')).rejects.toThrow(ExportError);
    await expect(weight(7e4, 'float16')).rejects.toThrow('w: holds 70000');
  });

  it('is asked for where a graph reads it', () => {
    const graph = new Graph('lost');
    graph.output('y', graph.external('w', 'float32', [2]));
    expect(() => toOnnx(graph)).toThrow('lie nowhere');
  });
});

it('int8 is refused with float16 beside it', () => {
  const options = { weights: 'int8', rest: 'float16' } as const;
  expect(() => planImport({ language: folder }, options, SIZES, DATA)).toThrow('rest');
});
