import {
  featureSize,
  promptLength,
  viewsOf,
  type LargeConfig,
  type LargeSignature,
} from '@armature/policy/divla/large';
import { presetParameters } from '@armature/policy/plan';
import type { LargeOptions } from '../../result.ts';

/** What a processor can do at most: products, FLOP/s, and memory, bytes/s. */
export interface Peak {
  readonly flops: number;
  readonly bandwidth: number;
}

/** Half-precision products and memory of cards, as their data sheets have them. */
export const CARDS: Readonly<Record<NonNullable<LargeOptions['card']>, Peak>> = {
  a6000: { flops: 155e12, bandwidth: 768e9 },
  rtx4090: { flops: 165e12, bandwidth: 1008e9 },
  l40s: { flops: 362e12, bandwidth: 864e9 },
  h100: { flops: 989e12, bandwidth: 3350e9 },
};

/** Bytes of a stored weight with its scales. */
const BYTES: Readonly<Record<LargeOptions['weights'], number>> = {
  float32: 4,
  float16: 2,
  int8: 1,
  int4: 0.5 + 2 / 32,
};

export interface LargeTimes {
  readonly vision: number;
  readonly prefill: number;
  /** Of one token. */
  readonly decode: number;
  /** Of all denoising steps. */
  readonly head: number;
}

/**
 * The least milliseconds that each part of a call can take: by its products or by the bytes that it has to
 * read, whichever is longer; activations and launches cost nothing.
 */
export function largeLimits(
  config: LargeConfig,
  signature: LargeSignature,
  rows: number,
  steps: number,
  weights: LargeOptions['weights'],
  peak: Peak,
): LargeTimes {
  const count = presetParameters(config);
  const { shape } = config.language;
  const { shape: eyes } = config.vision;
  const width = 'hidden' in eyes ? eyes.hidden : eyes.width;
  const rest = weights === 'float32' || weights === 'int8' ? 4 : 2;
  const ms = (flops: number, bytes: number): number =>
    1000 * Math.max(flops / peak.flops, bytes / peak.bandwidth);
  const patches = featureSize(config).count;
  const prompt = promptLength(config, signature);
  const output = shape.vocabulary * shape.hidden;
  const cache = 2 * shape.layers * shape.kvHeads * shape.headDim * prompt * rest;
  const read = count.languageLayers * BYTES[weights];
  return {
    vision: ms(
      rows *
        viewsOf(signature) *
        (2 * count.vision * patches + 4 * eyes.layers * patches ** 2 * width),
      count.vision * rest,
    ),
    prefill: ms(
      rows *
        (2 * count.languageLayers * prompt +
          2 * shape.layers * prompt ** 2 * shape.heads * shape.headDim),
      read,
    ),
    decode: ms(2 * rows * (count.languageLayers + output), read + output * rest + rows * cache),
    // A weight is used once a row or more: on a card its bytes are what counts.
    head: steps * ms(2 * rows * count.decoder, count.decoder * rest),
  };
}
