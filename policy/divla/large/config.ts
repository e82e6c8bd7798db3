import {
  siglipTokens,
  type LanguageModel,
  type QwenVisionShape,
  type SiglipShape,
} from '../../backbones/index.ts';
import type { ConditionalUnet1dShape } from '../../decoders/index.ts';
import type { DivlaConfig } from '../config.ts';

/** A published vision encoder; `image` is the side of a picture in pixels. */
export type LargeVision =
  | { readonly kind: 'siglip'; readonly shape: SiglipShape }
  /** Takes any multiple of patch·merge as `image`. */
  | { readonly kind: 'qwen2-vl'; readonly shape: QwenVisionShape; readonly image: number };

export type ViewKind = 'external' | 'wrist';

/** Sizes of a DiVLA on published backbones; every one of its graphs is built from one of these. */
export interface LargeConfig {
  readonly name: string;
  readonly language: LanguageModel;
  readonly vision: LargeVision;
  /** Visual tokens of one view after the resampler. */
  readonly tokens: Readonly<Record<ViewKind, number>>;
  /** Width of the reasoning's embedding as injected. */
  readonly reasoning: number;
  /** `actions` is the width of encoded actions. */
  readonly decoder: ConditionalUnet1dShape;
  /** Width of the decoder's condition. */
  readonly condition: number;
  /** An embodiment's own layers: padded dimensions, and the hidden width of its MLPs. */
  readonly head: { readonly dims: number; readonly hidden: number };
  readonly diffusion: DivlaConfig['diffusion'];
}

/** DiVLA's schedule: the noise is predicted, and clean actions stay in [-1, 1]. */
export const LARGE_DIFFUSION: LargeConfig['diffusion'] = {
  trainSteps: 100,
  prediction: 'epsilon',
  clip: 1,
};

/** What one graph is built for. Sessions of one signature batch together. */
export interface LargeSignature {
  readonly external: number;
  readonly wrist: number;
  /** Actions of a chunk, a multiple of what the decoder's levels halve. */
  readonly horizon: number;
  /** Longest instruction and longest reasoning, in tokens; the latter at least 1. */
  readonly textTokens: number;
  readonly reasoningTokens: number;
}

/** Side of a picture in pixels. */
export function imageSide({ vision }: LargeConfig): number {
  return vision.kind === 'siglip' ? vision.shape.image : vision.image;
}

/** Features that the encoder gives of one picture, and their width. */
export function featureSize({ vision }: LargeConfig): { count: number; width: number } {
  if (vision.kind === 'siglip') {
    return { count: siglipTokens(vision.shape), width: vision.shape.hidden };
  }
  const { patch, merge, out } = vision.shape;
  return { count: (vision.image / (patch * merge)) ** 2, width: out };
}

export function viewsOf({ external, wrist }: LargeSignature): number {
  return external + wrist;
}

/** Tokens of a row's prompt: every view's, then the instruction's. */
export function promptLength({ tokens }: LargeConfig, signature: LargeSignature): number {
  const { external, wrist, textTokens } = signature;
  return external * tokens.external + wrist * tokens.wrist + textTokens;
}

/** Sizes that no graph can be built for. */
export class LargeSizeError extends RangeError {
  override readonly name = 'LargeSizeError';
  /** The size at fault. */
  readonly field: string;
  readonly reason: string;
  constructor(field: string, reason: string) {
    super(`${field}: ${reason}`);
    this.field = field;
    this.reason = reason;
  }
}

/** @throws LargeSizeError naming what no graph can be built for. */
export function checkSizes(config: LargeConfig, signature: LargeSignature): void {
  const { vision, decoder } = config;
  const halved = 2 ** (decoder.channels.length - 1);
  if (signature.horizon % halved !== 0) {
    throw new LargeSizeError('horizon', `${signature.horizon} is no multiple of ${halved}`);
  }
  const odd = decoder.channels.find((width) => width % decoder.groups !== 0);
  if (odd !== undefined) {
    throw new LargeSizeError('decoder', `${odd} is no multiple of ${decoder.groups}`);
  }
  if (viewsOf(signature) === 0) throw new LargeSizeError('views', 'a row has at least one');
  if (signature.reasoningTokens < 1) throw new LargeSizeError('reasoningTokens', 'at least 1');
  if (vision.kind === 'siglip') return;
  const unit = vision.shape.patch * vision.shape.merge;
  if (vision.image < unit || vision.image % unit !== 0) {
    throw new LargeSizeError('image-size', `${vision.image} is no multiple of ${unit} pixels`);
  }
}
