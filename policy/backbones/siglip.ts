import { z } from 'zod';
import { affine, dense, norm } from '../nn/layers.ts';
import { fanIn, zeros, type Params } from '../nn/params.ts';
import {
  add,
  attention,
  cast,
  expand,
  gelu,
  quickGelu,
  reshape,
  slice,
  split,
  transpose,
  type Tensor,
} from '../tensor/index.ts';
import { member, readFields, size } from './fields.ts';

/** SigLIP's vision encoder (Zhai et al. 2023): a fixed image size, no class token. */
export interface SiglipShape {
  readonly hidden: number;
  readonly intermediate: number;
  readonly layers: number;
  readonly heads: number;
  readonly image: number;
  readonly patch: number;
  readonly channels: number;
  readonly activation: keyof typeof ACTIVATIONS;
  readonly normEps: number;
}

export interface SiglipResult {
  /** Patches with their positions, and what each layer gives, [B, tokens, hidden]. */
  readonly embedded: Tensor;
  readonly layers: readonly Tensor[];
  /** After the last norm, [B, tokens, hidden]. */
  readonly last: Tensor;
}

const ACTIVATIONS = {
  gelu_pytorch_tanh: (x: Tensor) => gelu(x, 'tanh'),
  gelu: (x: Tensor) => gelu(x, 'erf'),
  quick_gelu: quickGelu,
} as const;

const siglipFields = z.object({
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  image_size: size,
  patch_size: size,
  num_channels: size,
  hidden_act: z.enum(['gelu_pytorch_tanh', 'gelu', 'quick_gelu']),
  layer_norm_eps: z.number().positive(),
});

/** What a field that is not there means, by the format itself (transformers' SiglipVisionConfig). */
const FORMAT_DEFAULTS = {
  hidden_size: 768,
  intermediate_size: 3072,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  image_size: 224,
  patch_size: 16,
  num_channels: 3,
  hidden_act: 'gelu_pytorch_tanh',
  layer_norm_eps: 1e-6,
};

/**
 * From the config of the vision model alone, or of a whole SigLIP; published ones say only what differs from
 * the format's defaults. Throws ModelConfigError.
 */
export function siglipShape(config: Readonly<Record<string, unknown>>): SiglipShape {
  const vision = member(config, 'vision_config') ?? config;
  const isOfFormat = [config, vision].some(
    ({ model_type: type }) => type === 'siglip' || type === 'siglip_vision_model',
  );
  const said = isOfFormat ? { ...FORMAT_DEFAULTS, ...vision } : vision;
  const fields = readFields(siglipFields, said, 'siglip');
  return {
    hidden: fields.hidden_size,
    intermediate: fields.intermediate_size,
    layers: fields.num_hidden_layers,
    heads: fields.num_attention_heads,
    image: fields.image_size,
    patch: fields.patch_size,
    channels: fields.num_channels,
    activation: fields.hidden_act,
    normEps: fields.layer_norm_eps,
  };
}

/** Visual tokens of one image. */
export function siglipTokens(shape: SiglipShape): number {
  return Math.floor(shape.image / shape.patch) ** 2;
}

/** @param pixels f32 [B, channels, image, image], normalised */
export function siglip(p: Params, shape: SiglipShape, pixels: Tensor): SiglipResult {
  const embedded = embed(p.scope('embeddings'), shape, pixels);
  const act = ACTIVATIONS[shape.activation];
  const layers: Tensor[] = [];
  let x = embedded;
  for (let i = 0; i < shape.layers; i += 1) {
    const layer = p.scope(`encoder.layers.${i}`);
    const normed = norm(layer.scope('layer_norm1'), x, shape.normEps);
    x = add(x, attend(layer.scope('self_attn'), shape, normed));
    const inner = norm(layer.scope('layer_norm2'), x, shape.normEps);
    const hidden = act(dense(layer.scope('mlp.fc1'), inner, shape.intermediate));
    x = add(x, dense(layer.scope('mlp.fc2'), hidden, shape.hidden));
    layers.push(x);
  }
  return { embedded, layers, last: norm(p.scope('post_layernorm'), x, shape.normEps) };
}

/** One vector an image, [B, hidden]: a learned query attends to all tokens. */
export function siglipPool(p: Params, shape: SiglipShape, last: Tensor): Tensor {
  const head = p.scope('head');
  const [batch] = last.shape as [number];
  const { hidden, heads } = shape;
  const probe = head.param('probe', [1, 1, hidden], { kind: 'normal', std: 1 });
  const attending = head.scope('attention');
  const joint = attending.param('in_proj_weight', [3 * hidden, hidden], fanIn(hidden), true);
  const jointBias = attending.param('in_proj_bias', [3 * hidden], zeros);
  const weights = split(joint, [hidden, hidden, hidden], 0);
  const biases = split(jointBias, [hidden, hidden, hidden], 0);
  const [q, k, v] = [probe, last, last].map((x, i) =>
    byHead(affine(x, weights[i] as Tensor, biases[i] as Tensor), heads),
  ) as [Tensor, Tensor, Tensor];
  const mixed = reshape(attention(expand(q, [batch, ...q.shape.slice(1)]), k, v), [batch, hidden]);
  const asked = dense(attending.scope('out_proj'), mixed, hidden);
  const act = ACTIVATIONS[shape.activation];
  const normed = norm(head.scope('layernorm'), asked, shape.normEps);
  const inner = act(dense(head.scope('mlp.fc1'), normed, shape.intermediate));
  return add(asked, dense(head.scope('mlp.fc2'), inner, hidden));
}

/** A convolution whose stride is its kernel, as one product; a rim that no patch covers is left out. */
function embed(p: Params, shape: SiglipShape, pixels: Tensor): Tensor {
  const { channels, patch, hidden } = shape;
  const batch = pixels.shape[0] ?? 0;
  const side = Math.floor(shape.image / patch);
  const covered = slice(slice(pixels, 2, 0, side * patch), 3, 0, side * patch);
  const cut = reshape(covered, [batch, channels, side, patch, side, patch]);
  const inner = channels * patch ** 2;
  const rows = reshape(transpose(cut, [0, 2, 4, 1, 3, 5]), [batch, side ** 2, inner]);
  const conv = p.scope('patch_embedding');
  const weight = conv.param('weight', [hidden, channels, patch, patch], fanIn(inner), true);
  const bias = conv.param('bias', [hidden], zeros);
  const positions = p
    .scope('position_embedding')
    .param('weight', [side ** 2, hidden], { kind: 'normal', std: 0.02 });
  return add(affine(rows, reshape(weight, [hidden, inner]), bias), cast(positions, rows.dtype));
}

function attend(p: Params, shape: SiglipShape, x: Tensor): Tensor {
  const [q, k, v] = ['q_proj', 'k_proj', 'v_proj'].map((name) =>
    byHead(dense(p.scope(name), x, shape.hidden), shape.heads),
  ) as [Tensor, Tensor, Tensor];
  const mixed = transpose(attention(q, k, v), [0, 2, 1, 3]);
  return dense(p.scope('out_proj'), reshape(mixed, x.shape), shape.hidden);
}

/** [B, T, C] → [B, heads, T, C/heads] */
function byHead(x: Tensor, heads: number): Tensor {
  const [batch, length, width] = x.shape as [number, number, number];
  return transpose(reshape(x, [batch, length, heads, width / heads]), [0, 2, 1, 3]);
}
