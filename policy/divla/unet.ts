import {
  add,
  concat,
  conv1d,
  convTranspose1d,
  mish,
  mul,
  timestepEmbedding,
  type Tensor,
} from '../tensor/index.ts';
import { dense, groups, lastDim } from '../nn/layers.ts';
import { zeros, type Params } from '../nn/params.ts';
import type { DivlaConfig } from './config.ts';
import { blockFilm, type Modulation } from './film.ts';

/**
 * Conditional 1-D U-Net over an action chunk (Diffusion Policy, Chi et al. 2023), channels last,
 * with condition and reasoning modulating every block (DiVLA).
 * @param x [N, H, C] encoded noisy actions, H even
 * @returns [N, H, channels[0]]
 */
export function unet(p: Params, config: DivlaConfig, x: Tensor, modulation: Modulation): Tensor {
  const [c0, c1] = config.decoder.channels;
  const block = (name: string, input: Tensor, out: number): Tensor =>
    residual(p.scope(name), config, input, blockFilm(config, modulation, name), out);
  const a = block('down0', x, c0);
  const b = block('down1', conv(p.scope('narrow'), a, c0, 3, 2), c1);
  const middle = block('middle', b, c1);
  const up = block('up0', concat([middle, b], 2), c0);
  const wide = transposed(p.scope('widen'), up, c0);
  return convBlock(p.scope('final'), config, block('up1', concat([wide, a], 2), c0), c0);
}

function convBlock(p: Params, config: DivlaConfig, x: Tensor, out: number): Tensor {
  const y = conv(p.scope('conv'), x, out, config.decoder.kernel, 1);
  return mish(groups(p.scope('norm'), y, config.decoder.groups));
}

function residual(
  p: Params,
  config: DivlaConfig,
  x: Tensor,
  film: Modulation,
  out: number,
): Tensor {
  const first = convBlock(p.scope('in'), config, x, out);
  const second = convBlock(p.scope('out'), config, add(mul(first, film.scale), film.shift), out);
  return add(second, lastDim(x) === out ? x : dense(p.scope('skip'), x, out));
}

function conv(p: Params, x: Tensor, out: number, kernel: number, stride: number): Tensor {
  const width = lastDim(x);
  const weight = p.param(
    'weight',
    [kernel, width, out],
    { kind: 'uniform', bound: 1 / Math.sqrt(kernel * width) },
    true,
  );
  const bias = p.param('bias', [out], zeros);
  return conv1d(x, weight, { stride, padding: (kernel - 1) / 2, bias });
}

function transposed(p: Params, x: Tensor, out: number): Tensor {
  const width = lastDim(x);
  const weight = p.param(
    'weight',
    [4, out, width],
    { kind: 'uniform', bound: 1 / Math.sqrt(4 * width) },
    true,
  );
  const bias = p.param('bias', [out], zeros);
  return convTranspose1d(x, weight, { stride: 2, padding: 1, bias });
}

/** Embedding of diffusion steps t f32 [N] → [N, stepEmbedding]: sinusoids through an MLP. */
export function stepVector(p: Params, config: DivlaConfig, t: Tensor): Tensor {
  const width = config.decoder.stepEmbedding;
  const hidden = mish(dense(p.scope('in'), timestepEmbedding(t, width), width * 4));
  return dense(p.scope('out'), hidden, width);
}
