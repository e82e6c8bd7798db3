import {
  languageModel,
  qwenVisionShape,
  siglipShape,
  type HuggingFaceModel,
  type LanguageModel,
} from '../../policy/backbones/index.ts';
import {
  LARGE_DIFFUSION,
  type LargeConfig,
  type LargeSignature,
  type LargeVision,
} from '../../policy/divla/large/index.ts';

/** Sizes of a DiVLA on tiny published checkpoints. For tests only. */

export const TINY_SIGNATURE: LargeSignature = {
  external: 1,
  wrist: 1,
  horizon: 4,
  textTokens: 6,
  reasoningTokens: 5,
};

/** DiVLA's own sizes. */
export const TINY_OWN: Omit<LargeConfig, 'name' | 'language' | 'vision'> = {
  tokens: { external: 7, wrist: 3 },
  reasoning: 12,
  decoder: {
    actions: 10,
    channels: [8, 16],
    kernel: 3,
    groups: 4,
    stepEmbedding: 8,
    scales: true,
  },
  condition: 14,
  head: { dims: 5, hidden: 9 },
  diffusion: LARGE_DIFFUSION,
};

export function tinyLarge(language: LanguageModel, vision: LargeVision): LargeConfig {
  return { ...TINY_OWN, name: 'tiny', language, vision };
}

/** Pixels of a picture's side that Qwen2-VL's own tower is given. */
export const TOWER_IMAGE = 56;

export function tinyVision(kind: LargeVision['kind'], folder: HuggingFaceModel): LargeVision {
  return kind === 'siglip'
    ? { kind, shape: siglipShape(folder.config) }
    : { kind, shape: qwenVisionShape(folder.config), image: TOWER_IMAGE };
}

/** Tiny Qwen2-VL with SigLIP, by configs alone. */
export function tinyOf(language: HuggingFaceModel, vision: HuggingFaceModel): LargeConfig {
  return tinyLarge(languageModel(language.config), tinyVision('siglip', vision));
}
