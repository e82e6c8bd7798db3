import { dense, groups, lastDim, toHalf } from '../nn/layers.ts';
import { fanIn, zeros, type Params } from '../nn/params.ts';
import {
  add,
  cast,
  concat,
  conv1d,
  convTranspose1d,
  mish,
  mul,
  reshape,
  slice,
  timestepEmbedding,
  type Tensor,
} from '../tensor/index.ts';

/** Sizes of Diffusion Policy's conditional U-Net (Chi et al. 2023) as lerobot has it. */
export interface ConditionalUnet1dShape {
  /** Dimensions of one action. */
  readonly actions: number;
  /** Channels of each level; each level after the first halves the horizon. */
  readonly channels: readonly number[];
  readonly kernel: number;
  readonly groups: number;
  /** Width of the embedding of the diffusion step, even. */
  readonly stepEmbedding: number;
  /** Whether the condition scales features (scale·x + shift) or shifts them alone. */
  readonly scales: boolean;
}

/** Modulates a block's features [B, L, channels] once more, behind step and condition; `p` is the block's own. */
export type BlockVoice = (p: Params, x: Tensor) => Tensor;

/**
 * The network's output for noisy actions: what its training had it predict.
 * @param x [B, H, actions]; H is a multiple of 2^(levels − 1)
 * @param t [B], diffusion steps
 * @param condition [B, C]
 * @param voice of every block; the published network has none
 * @returns [B, H, actions]
 */
export function conditionalUnet1d(
  p: Params,
  shape: ConditionalUnet1dShape,
  x: Tensor,
  t: Tensor,
  condition: Tensor,
  voice: BlockVoice = (_, features) => features,
): Tensor {
  const { channels } = shape;
  const step = stepVector(p.scope('diffusion_step_encoder'), shape, t);
  // Every block passes the condition through Mish before its linear layer.
  const film = mish(concat([step, condition], 1));
  const pair = (level: Params, input: Tensor, out: number): Tensor => {
    const first = residual(level.scope('0'), shape, input, { film, voice }, out);
    return residual(level.scope('1'), shape, first, { film, voice }, out);
  };
  const kept: Tensor[] = [];
  let h = x;
  channels.forEach((width, i) => {
    const level = p.scope(`down_modules.${i}`);
    h = pair(level, h, width);
    kept.push(h);
    if (i < channels.length - 1) h = conv(level.scope('2'), h, width, 3, 2, 1);
  });
  h = pair(p.scope('mid_modules'), h, lastDim(h));
  for (let i = 0; i < channels.length - 1; i += 1) {
    const width = channels[channels.length - 2 - i] ?? 0;
    const level = p.scope(`up_modules.${i}`);
    const across = kept[channels.length - 1 - i];
    if (across === undefined) throw new RangeError(`level ${i} has nothing to join`);
    h = widen(level.scope('2'), pair(level, concat([h, across], 2), width), width);
  }
  const final = p.scope('final_conv');
  const joined = convBlock(final.scope('0.block'), shape, h, channels[0] ?? 0);
  return conv(final.scope('1'), joined, shape.actions, 1, 1, 0);
}

function stepVector(p: Params, shape: ConditionalUnet1dShape, t: Tensor): Tensor {
  const width = shape.stepEmbedding;
  const hidden = mish(dense(p.scope('1'), timestepEmbedding(t, width), 4 * width));
  return dense(p.scope('3'), hidden, width);
}

function residual(
  p: Params,
  shape: ConditionalUnet1dShape,
  x: Tensor,
  { film, voice }: { readonly film: Tensor; readonly voice: BlockVoice },
  out: number,
): Tensor {
  const first = convBlock(p.scope('conv1.block'), shape, x, out);
  const turned = modulated(p.scope('cond_encoder.1'), shape, first, film);
  const second = convBlock(p.scope('conv2.block'), shape, voice(p, turned), out);
  return add(second, lastDim(x) === out ? x : conv(p.scope('residual_conv'), x, out, 1, 1, 0));
}

function modulated(p: Params, shape: ConditionalUnet1dShape, x: Tensor, film: Tensor): Tensor {
  const width = lastDim(x);
  const batch = x.shape[0] ?? 0;
  const values = dense(p, film, shape.scales ? 2 * width : width);
  const part = (i: number): Tensor =>
    reshape(slice(values, 1, i * width, (i + 1) * width), [batch, 1, width]);
  return shape.scales ? add(mul(x, part(0)), part(1)) : add(x, part(0));
}

function convBlock(p: Params, shape: ConditionalUnet1dShape, x: Tensor, out: number): Tensor {
  const y = conv(p.scope('0'), x, out, shape.kernel, 1, (shape.kernel - 1) / 2);
  return mish(groups(p.scope('1'), y, shape.groups));
}

function conv(
  p: Params,
  x: Tensor,
  out: number,
  kernel: number,
  stride: number,
  padding: number,
): Tensor {
  const width = lastDim(x);
  const weight = p.param('weight', [out, width, kernel], fanIn(width * kernel), true);
  const bias = p.param('bias', [out], zeros);
  return byType(
    x,
    weight,
    (from, own) => conv1d(from, weight, { stride, padding, weight: 'oik', ...own }),
    bias,
  );
}

/** A convolution with a float16 weight multiplies in float16 and gives x's type again, as `affine` does. */
function byType(
  x: Tensor,
  weight: Tensor,
  convolve: (x: Tensor, own: { readonly bias?: Tensor }) => Tensor,
  bias: Tensor,
): Tensor {
  if (weight.dtype === x.dtype) return convolve(x, { bias });
  return add(cast(convolve(toHalf(x), {}), x.dtype), bias);
}

/** Doubles the horizon. */
function widen(p: Params, x: Tensor, out: number): Tensor {
  const width = lastDim(x);
  const weight = p.param('weight', [width, out, 4], fanIn(width * 4), true);
  const bias = p.param('bias', [out], zeros);
  return byType(
    x,
    weight,
    (from, own) => convTranspose1d(from, weight, { stride: 2, padding: 1, weight: 'iok', ...own }),
    bias,
  );
}
