import { describe, expect, it } from 'vitest';
import { siglip, siglipPool } from '../backbones/index.ts';
import { collectParams } from '../nn/params.ts';
import {
  LARGE_PRESETS,
  adapterParameters,
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
    const { vision } = LARGE_PRESETS['2b'];
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
    // r·(in + out) of each of a layer's seven matrices; 73.9 M at rank 64.
    const own = adapterParameters(LARGE_PRESETS['2b'].language, { ...lora, rank: 64 });
    expect(own).toBe(28 * 64 * (2 * (1536 + 1536) + 2 * (1536 + 256) + 3 * (1536 + 8960)));
    expect(own / 1e6).toBeCloseTo(73.9, 1);
  });

  it('says which format of a preset fits which memory', () => {
    const fits = (name: LargePresetName, format: PlanOptions['format'], gpuMemory: number) =>
      planMemory(LARGE_PRESETS[name], { ...OPTIONS, lora, format, gpuMemory }).fits;
    expect(fits('2b', 'float16', 24)).toBe(true);
    expect(fits('7b', 'float16', 80)).toBe(true);
    expect(fits('7b', 'float16', 16)).toBe(false);
    expect(fits('7b', 'int4', 16)).toBe(true);
    expect(fits('72b', 'float16', 80)).toBe(false);
    expect(fits('72b', 'int4', 80)).toBe(true);
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

  it('has a decoder of the released code’s order', () => {
    const { decoder } = presetParameters(LARGE_PRESETS['2b']);
    expect(decoder / 1e6).toBeGreaterThan(60);
    expect(decoder / 1e6).toBeLessThan(130);
  });
});
