import type { Params } from '../nn/params.ts';
import type { Tensor } from '../tensor/index.ts';

/** What a language model is to the rest of the house, whatever its family. */

/** Sizes that graphs, caches and memory plans need. */
export interface LanguageShape {
  readonly hidden: number;
  readonly intermediate: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocabulary: number;
  /** Whether the output layer is the embedding table itself. */
  readonly tied: boolean;
  /** Positions a token has: 1, or 3 (time, height, width). */
  readonly positionAxes: 1 | 3;
}

/** Keys and values of one layer, each [B, kvHeads, T, headDim]. */
export interface LayerCache {
  readonly k: Tensor;
  readonly v: Tensor;
}

/**
 * An affine layer of the model: x […, in] → […, out] by the parameters `weight` [out, in] (and `bias`)
 * of `p`. Fine-tuning and quantisation replace it.
 */
export type Project = (p: Params, x: Tensor, out: number, bias: boolean) => Tensor;

export interface DecodeInput {
  /** Embedded tokens [B, T, hidden]. */
  readonly x: Tensor;
  /** i64 or f32 [positionAxes, B, T]. */
  readonly positions: Tensor;
  /** f32, added to the scores; broadcasts with [B, heads, T, past + T]. */
  readonly mask: Tensor;
  /** What came before, a layer each. */
  readonly past?: readonly LayerCache[];
  /** Plain affine layers when absent. */
  readonly project?: Project;
  /** Caches and attention's products in half precision: half the memory of long prompts. */
  readonly halfAttention?: boolean;
}

export interface Decoded {
  /** After each layer, [B, T, hidden]. */
  readonly layers: readonly Tensor[];
  /** After the last norm, [B, T, hidden]. */
  readonly hidden: Tensor;
  /** The caches grown by T. */
  readonly caches: readonly LayerCache[];
}

/** A causal language model. Parameters are named as published folders name them. */
export interface LanguageModel {
  readonly shape: LanguageShape;
  /** ids i64 […] → […, hidden] */
  embed(p: Params, ids: Tensor): Tensor;
  decode(p: Params, input: DecodeInput): Decoded;
  /** Hidden states after the last norm […, hidden] → […, vocabulary] */
  logits(p: Params, hidden: Tensor): Tensor;
}

/** A kind of language model: one file each. */
export interface LanguageFamily {
  /** `model_type` of the config.json files that it reads. */
  readonly types: readonly string[];
  /** @throws ModelConfigError naming the field that is absent, or has a value the family does not know. */
  fromConfig(config: Readonly<Record<string, unknown>>): LanguageModel;
}
