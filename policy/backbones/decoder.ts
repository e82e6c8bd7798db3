import { affine, dense, embedding, rms, toHalf } from '../nn/layers.ts';
import type { Params } from '../nn/params.ts';
import {
  add,
  attention,
  cast,
  clamp,
  concat,
  mul,
  reshape,
  rotate,
  silu,
  transpose,
  type Rotation,
  type Tensor,
} from '../tensor/index.ts';
import type {
  DecodeInput,
  Decoded,
  LanguageModel,
  LanguageShape,
  LayerCache,
  Project,
} from './family.ts';

/** What sets one family of this design apart from another. */
export interface DecoderOptions {
  readonly shape: LanguageShape;
  readonly normEps: number;
  /** Whether q, k and v have a bias. */
  readonly qkvBias: boolean;
  /** Whether the attention's output layer has one. */
  readonly outBias: boolean;
  /** The rotation of positions [positionAxes, B, T], [B, 1, T, headDim/2]. */
  rotation(positions: Tensor): Rotation;
}

/** Affine layers as they are in the folder. */
export const plainProject: Project = (p, x, out, bias) => dense(p, x, out, { bias });

/**
 * The decoder that Llama and Qwen2 share: RMSNorm before attention and before SwiGLU, rotary positions,
 * grouped-query attention.
 */
export function causalDecoder(options: DecoderOptions): LanguageModel {
  const { shape } = options;
  const table = (p: Params): Tensor =>
    p
      .scope('model.embed_tokens')
      .param('weight', [shape.vocabulary, shape.hidden], { kind: 'normal', std: 0.02 });
  return {
    shape,
    embed: (p, ids) => embedding(table(p), ids),
    decode: (p, input) => decode(options, p.scope('model'), input),
    logits: (p, hidden) =>
      shape.tied
        ? affine(hidden, table(p))
        : dense(p.scope('lm_head'), hidden, shape.vocabulary, { bias: false }),
  };
}

function decode(options: DecoderOptions, p: Params, input: DecodeInput): Decoded {
  const { shape, normEps } = options;
  const project = input.project ?? plainProject;
  const turn = options.rotation(input.positions);
  const half = input.halfAttention === true;
  const mask = half ? cast(clamp(input.mask, HALF_HIDDEN, 0), 'float16') : input.mask;
  const caches: LayerCache[] = [];
  const layers: Tensor[] = [];
  let h = input.x;
  for (let i = 0; i < shape.layers; i += 1) {
    const layer = p.scope(`layers.${i}`);
    const attended = attend(
      options,
      layer.scope('self_attn'),
      rms(layer.scope('input_layernorm'), h, normEps),
      turn,
      { mask, half, past: input.past?.[i] },
      project,
    );
    caches.push(attended.cache);
    h = add(h, attended.y);
    const normed = rms(layer.scope('post_attention_layernorm'), h, normEps);
    const mlp = layer.scope('mlp');
    const gate = silu(project(mlp.scope('gate_proj'), normed, shape.intermediate, false));
    const up = project(mlp.scope('up_proj'), normed, shape.intermediate, false);
    h = add(h, project(mlp.scope('down_proj'), mul(gate, up), shape.hidden, false));
    layers.push(h);
  }
  return { layers, hidden: rms(p.scope('norm'), h, normEps), caches };
}

/** What hides a key in half precision: far below every score, and two of them still finite. */
const HALF_HIDDEN = -3e4;

/** What attention reads beside its layer's input. */
interface Context {
  readonly mask: Tensor;
  readonly half: boolean;
  readonly past: LayerCache | undefined;
}

function attend(
  { shape, qkvBias, outBias }: DecoderOptions,
  p: Params,
  x: Tensor,
  turn: Rotation,
  { mask, half, past }: Context,
  project: Project,
): { y: Tensor; cache: LayerCache } {
  const [batch, length] = x.shape as [number, number, number];
  const heads = (name: string, count: number): Tensor =>
    transpose(
      reshape(project(p.scope(name), x, count * shape.headDim, qkvBias), [
        batch,
        length,
        count,
        shape.headDim,
      ]),
      [0, 2, 1, 3],
    );
  const keep = half ? toHalf : (t: Tensor): Tensor => t;
  // Scaled before it is rounded: products of published models exceed half precision otherwise.
  const q = keep(mul(rotate(heads('q_proj', shape.heads), turn), 1 / Math.sqrt(shape.headDim)));
  const own = {
    k: keep(rotate(heads('k_proj', shape.kvHeads), turn)),
    v: keep(heads('v_proj', shape.kvHeads)),
  };
  const cache =
    past === undefined ? own : { k: concat([past.k, own.k], 2), v: concat([past.v, own.v], 2) };
  const heard = cast(attention(q, cache.k, cache.v, { mask, scale: 1 }), x.dtype);
  const mixed = transpose(heard, [0, 2, 1, 3]);
  const joined = reshape(mixed, [batch, length, shape.heads * shape.headDim]);
  return { y: project(p.scope('o_proj'), joined, shape.hidden, outBias), cache };
}
