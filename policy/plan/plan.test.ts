import { describe, expect, it } from 'vitest';
import { openReference } from '../../test/support/tiny-models.ts';
import { TINY_SIGNATURE, tinyOf } from '../../test/support/tiny-large.ts';
import { siglip, siglipPool } from '../backbones/index.ts';
import { largeGraph, isBank } from '../divla/large/index.ts';
import { StoredWeights } from '../export/index.ts';
import { collectParams } from '../nn/params.ts';
import { toOnnx, type Graph } from '../tensor/index.ts';
import { modelProto } from '../tensor/onnx-schema.ts';
import {
  LARGE_PRESETS,
  countOf,
  languageParameters,
  planMemory,
  presetParameters,
  type LargePresetName,
  type PlanOptions,
} from './index.ts';

const GIB = 2 ** 30;
const OPTIONS: PlanOptions = {
  format: 'float16',
  batch: 8,
  external: 1,
  wrist: 1,
  textTokens: 48,
  reasoningTokens: 64,
  slots: 64,
  gpuMemory: 80,
  reserve: 2,
};

describe('the presets have the sizes of the published models', () => {
  // Parameters of Qwen2-1.5B, Qwen2-7B and Qwen2-72B, which Qwen2-VL's language models are.
  it.each([
    ['2b', 1_543_714_304],
    ['7b', 7_615_616_512],
    ['72b', 72_706_203_648],
  ] as const)('%s', (name, published) => {
    expect(countOf(languageParameters(LARGE_PRESETS[name].language))).toBe(published);
  });

  it('SigLIP so400m, its pooling head included', () => {
    const vision = LARGE_PRESETS['2b'].vision.shape;
    const specs = collectParams((params, graph) => {
      const pixels = graph.input('pixels', 'float32', [1, 3, vision.image, vision.image]);
      siglipPool(params, vision, siglip(params, vision, pixels).last);
    });
    expect(countOf(specs)).toBe(428_225_600);
  });
});

describe('a plan', () => {
  const lora = {
    rank: 16,
    scaling: 2,
    targets: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
  };

  it('counts cache and adapters as their formulas say', () => {
    const { parts } = planMemory(LARGE_PRESETS['2b'], OPTIONS);
    const part = (name: string) => parts.find((p) => p.name === name)?.bytes;
    // 28,672 bytes a token in float16, as 2 · 28 layers · 2 heads · 128 wide · 2 bytes.
    expect(part('cache')).toBe(8 * (336 + 16 + 48 + 64) * 28_672);
    // r·(in + out) of each of a layer's seven matrices in float16; 73.9 M at rank 64.
    const adapted = planMemory(LARGE_PRESETS['2b'], { ...OPTIONS, lora: { ...lora, rank: 64 } });
    const banks = adapted.parts.find(({ name }) => name === 'banks')?.bytes ?? NaN;
    const own = (banks - (part('banks') ?? NaN)) / (2 * OPTIONS.slots);
    expect(own).toBe(28 * 64 * (2 * (1536 + 1536) + 2 * (1536 + 256) + 3 * (1536 + 8960)));
    expect(own / 1e6).toBeCloseTo(73.9, 1);
  });

  it('says which format of a preset fits which memory', () => {
    const fits = (name: LargePresetName, format: PlanOptions['format'], gpuMemory: number) =>
      planMemory(LARGE_PRESETS[name], { ...OPTIONS, lora, format, gpuMemory }).fits;
    expect(fits('2b', 'float16', 24)).toBe(true);
    expect(fits('7b', 'float16', 80)).toBe(true);
    expect(fits('7b', 'float16', 24)).toBe(false);
    expect(fits('7b', 'int4', 24)).toBe(true);
    expect(fits('72b', 'float16', 80)).toBe(false);
    expect(fits('72b', 'int4', 80)).toBe(false);
    expect(fits('72b', 'int4', 96)).toBe(true);
  });

  it('fills what is left with rows or policies, and no more', () => {
    const plan = planMemory(LARGE_PRESETS['7b'], { ...OPTIONS, lora });
    const at = (change: Partial<PlanOptions>) =>
      planMemory(LARGE_PRESETS['7b'], { ...OPTIONS, lora, ...change });
    expect(at({ batch: plan.largestBatch }).fits).toBe(true);
    expect(at({ batch: plan.largestBatch + 1 }).fits).toBe(false);
    expect(at({ slots: plan.largestSlots }).fits).toBe(true);
    expect(at({ slots: plan.largestSlots + 1 }).fits).toBe(false);
    expect(plan.bytes).toBe(plan.parts.reduce((sum, { bytes }) => sum + bytes, 0));
    expect(plan.bytes / GIB).toBeGreaterThan((2 * 7.6e9) / GIB);
  });

  it('refuses what is no size', () => {
    expect(() => planMemory(LARGE_PRESETS['2b'], { ...OPTIONS, batch: 0 })).toThrow('batch');
  });

  it('counts what the graphs hold', async () => {
    const config = tinyOf(
      await openReference('qwen2-vl-tiny', 'folder'),
      await openReference('siglip-tiny', 'folder-full'),
    );
    const store = new StoredWeights({ weights: 'float32', rest: 'float32' });
    const graph = largeGraph('reason_and_act', {
      config,
      signature: TINY_SIGNATURE,
      rows: 1,
      slots: 3,
      special: { end: 0, pad: 0 },
      weights: (own: Graph) => ({ ...store.reader(own, isBank), half: false }),
    });
    const bytes = toOnnx(graph, {
      external: (name) => {
        const weight = store.list().find((one) => one.name === name);
        return { location: 'x', offset: 0, length: 4 * countOf([weight ?? { shape: [0] }]) };
      },
    });
    const model = modelProto.toObject(modelProto.decode(bytes)) as {
      graph: { initializer: { dims: unknown[]; data_location?: number }[] };
    };
    const stored = model.graph.initializer.filter((one) => one.data_location === 1);
    const size = (dims: readonly unknown[]) => dims.reduce<number>((n, d) => n * Number(d), 1);
    const { head, ...shared } = presetParameters(config);
    expect(stored.reduce((sum, { dims }) => sum + size(dims), 0)).toBe(
      Object.values(shared).reduce((sum, count) => sum + count, 0),
    );
    const banks = graph.inputs.filter(({ name }) => isBank(name));
    expect(banks.reduce((sum, { tensor }) => sum + size(tensor.shape), 0)).toBe(3 * head);
  });

  it('counts 2b as its sizes make it', () => {
    const { joints, head, decoder } = presetParameters(LARGE_PRESETS['2b']);
    const affine = (from: number, to: number) => from * to + to;
    const [seen, hidden, said] = [1152, 1536, 1024];
    expect(joints).toBe(
      // Queries, one attention, two norms, projector; two MLPs of the injection; norm and layer of the condition.
      (336 + 16) * seen +
        4 * affine(seen, seen) +
        2 * 2 * seen +
        affine(seen, hidden) +
        2 * (affine(hidden, said) + affine(said, said)) +
        2 * hidden +
        affine(hidden + 1024, 1024),
    );
    const mlp = (from: number, to: number) => affine(from, 512) + affine(512, to);
    expect(head).toBe(mlp(2 * 32 + 1, 1024) + mlp(32, 512) + mlp(512, 32));
    // Diffusion Policy's network by its own layers, each block with the reasoning's scales and shifts beside.
    const block = (from: number, to: number) =>
      affine(5 * from, to) +
      affine(5 * to, to) +
      2 * 2 * to +
      affine(256 + 1024, 2 * to) +
      affine(said, 2 * to) +
      (from === to ? 0 : affine(from, to));
    const level = (from: number, to: number) => block(from, to) + block(to, to);
    expect(decoder).toBe(
      affine(256, 1024) +
        affine(1024, 256) +
        level(512, 256) +
        level(256, 512) +
        level(512, 1024) +
        affine(3 * 256, 256) +
        affine(3 * 512, 512) +
        2 * block(1024, 1024) +
        level(2 * 1024, 512) +
        level(2 * 512, 256) +
        affine(4 * 512, 512) +
        affine(4 * 256, 256) +
        affine(5 * 256, 256) +
        2 * 256 +
        affine(256, 512),
    );
  });
});
