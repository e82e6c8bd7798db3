import { languageModel, siglipShape } from '../backbones/index.ts';
import { LARGE_DIFFUSION, type LargeConfig, type LargeVision } from '../divla/large/index.ts';

export type LargePresetName = '2b' | '7b' | '72b';

/** A model of published sizes: Qwen2-VL's language model, SigLIP, and DiVLA's decoder. */
export interface LargePreset extends LargeConfig {
  readonly name: LargePresetName;
  readonly vision: Extract<LargeVision, { readonly kind: 'siglip' }>;
}

/** What is DiVLA's own of every preset, and of an import unless it asks for other sizes. */
export const LARGE_OWN = {
  tokens: { external: 336, wrist: 16 },
  reasoning: 1024,
  decoder: {
    actions: 512,
    channels: [256, 512, 1024],
    kernel: 5,
    groups: 8,
    stepEmbedding: 256,
    scales: true,
  },
  condition: 1024,
  head: { dims: 32, hidden: 512 },
  diffusion: LARGE_DIFFUSION,
} as const satisfies Partial<LargeConfig>;

/** SigLIP's so400m encoder at 384 pixels. */
const SO400M = siglipShape({
  hidden_size: 1152,
  intermediate_size: 4304,
  num_hidden_layers: 27,
  num_attention_heads: 16,
  image_size: 384,
  patch_size: 14,
  num_channels: 3,
  hidden_act: 'gelu_pytorch_tanh',
  layer_norm_eps: 1e-6,
});

interface Sizes {
  readonly hidden: number;
  readonly intermediate: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly vocabulary: number;
  readonly tied: boolean;
}

/** Qwen2-VL's text sizes, as its published config.json files have them. */
const QWEN2_VL: Readonly<Record<LargePresetName, Sizes>> = {
  '2b': {
    hidden: 1536,
    intermediate: 8960,
    layers: 28,
    heads: 12,
    kvHeads: 2,
    vocabulary: 151_936,
    tied: true,
  },
  '7b': {
    hidden: 3584,
    intermediate: 18_944,
    layers: 28,
    heads: 28,
    kvHeads: 4,
    vocabulary: 152_064,
    tied: false,
  },
  '72b': {
    hidden: 8192,
    intermediate: 29_568,
    layers: 80,
    heads: 64,
    kvHeads: 8,
    vocabulary: 152_064,
    tied: false,
  },
};

/**
 * @param layers at most so many of the language model and of the vision encoder: what a machine that is too
 * small for all of them can still run
 */
export function largePreset(name: LargePresetName, layers = Infinity): LargePreset {
  const sizes = QWEN2_VL[name];
  const shape = { ...SO400M, layers: Math.min(SO400M.layers, layers) };
  const language = languageModel({
    model_type: 'qwen2_vl',
    hidden_size: sizes.hidden,
    intermediate_size: sizes.intermediate,
    num_hidden_layers: Math.min(sizes.layers, layers),
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.kvHeads,
    vocab_size: sizes.vocabulary,
    rms_norm_eps: 1e-6,
    hidden_act: 'silu',
    rope_theta: 1_000_000,
    rope_scaling: { type: 'mrope', mrope_section: [16, 24, 24] },
    tie_word_embeddings: sizes.tied,
  });
  return { name, language, vision: { kind: 'siglip', shape }, ...LARGE_OWN };
}

export const LARGE_PRESETS: Readonly<Record<LargePresetName, LargePreset>> = {
  '2b': largePreset('2b'),
  '7b': largePreset('7b'),
  '72b': largePreset('72b'),
};
