import { qwenVision, siglip, type QwenVisionShape } from '../../backbones/index.ts';
import { QWEN2_VL_SCALE, SIGLIP_SCALE, type PixelScale } from '../../data/pixel-scale.ts';
import { attend } from '../../nn/attention.ts';
import { dense, norm } from '../../nn/layers.ts';
import type { Params } from '../../nn/params.ts';
import {
  add,
  cast,
  concat,
  expand,
  mul,
  reshape,
  slice,
  transpose,
  type Tensor,
} from '../../tensor/index.ts';
import {
  featureSize,
  viewsOf,
  type LargeConfig,
  type LargeSignature,
  type ViewKind,
} from './config.ts';

/** Fresh weights lie under this scope, beside those that the published folders name. */
export const OWN_SCOPE = 'divla';

/**
 * What the encoder makes of pictures.
 * @param images u8 [N, side, side, 3]
 * @returns [N, features, width]
 */
export function encodeImages(p: Params, config: LargeConfig, images: Tensor): Tensor {
  const { vision } = config;
  const [n = 0, side = 0] = images.shape;
  const { count, width } = featureSize(config);
  if (vision.kind === 'siglip') {
    const pixels = transpose(scaled(images, SIGLIP_SCALE), [0, 3, 1, 2]);
    return siglip(p.scope('vision_model'), vision.shape, pixels).last;
  }
  const patches = cutPatches(scaled(images, QWEN2_VL_SCALE), vision.shape);
  const cells = side / vision.shape.patch;
  const grids = Array.from({ length: n }, () => ({ time: 1, height: cells, width: cells }));
  const { merged } = qwenVision(p.scope('visual'), vision.shape, grids, patches);
  return reshape(merged, [n, count, width]);
}

/** (u8/255 − mean)/deviation by channel, channels last. */
function scaled(images: Tensor, { mean, deviation }: PixelScale): Tensor {
  const graph = images.graph;
  const channels = [0, 1, 2] as const;
  const factor = graph.constant(
    channels.map((c) => 1 / (255 * deviation[c])),
    [3],
  );
  const shift = graph.constant(
    channels.map((c) => -mean[c] / deviation[c]),
    [3],
  );
  return add(mul(cast(images, 'float32'), factor), shift);
}

/** [N, S, S, 3] → rows of patches as Qwen2-VL reads them: channel, frame, y, x; merged ones together. */
function cutPatches(pixels: Tensor, { patch, merge, frames }: QwenVisionShape): Tensor {
  const [n = 0, side = 0] = pixels.shape;
  const blocks = side / (patch * merge);
  const cut = reshape(pixels, [n, blocks, merge, patch, blocks, merge, patch, 3]);
  const rows = n * (side / patch) ** 2;
  const still = reshape(transpose(cut, [0, 1, 4, 2, 5, 7, 3, 6]), [rows, 3, 1, patch ** 2]);
  // A still picture fills every frame that a patch spans.
  return reshape(expand(still, [rows, 3, frames, patch ** 2]), [rows, 3 * frames * patch ** 2]);
}

/**
 * A fixed number of tokens of each picture in the language model's width: learned queries attend to the
 * encoder's features, and an affine layer projects what they find.
 * @param features [N, features, width]
 * @returns [N, tokens of the kind, hidden]
 */
export function resample(p: Params, config: LargeConfig, features: Tensor, kind: ViewKind): Tensor {
  const { width } = featureSize(config);
  const own = p.scope(OWN_SCOPE).scope('resampler');
  const count = config.tokens[kind];
  const queries = own.param(`queries.${kind}`, [count, width], { kind: 'normal', std: 0.3 });
  const asking = reshape(cast(queries, 'float32'), [1, count, width]);
  const heads = config.vision.shape.heads;
  const found = attend(own.scope('attention'), asking, norm(own.scope('norm'), features), heads);
  const settled = norm(own.scope('settled'), add(found, asking));
  return dense(p.scope(OWN_SCOPE).scope('project'), settled, config.language.shape.hidden);
}

/**
 * Visual tokens of every view, externals first.
 * @param images u8 [B, V, side, side, 3]
 * @returns [B, visual tokens, hidden]
 */
export function viewTokens(
  p: Params,
  config: LargeConfig,
  signature: LargeSignature,
  images: Tensor,
): Tensor {
  const views = viewsOf(signature);
  const [rows = 0, , side = 0] = images.shape;
  const features = encodeImages(p, config, reshape(images, [rows * views, side, side, 3]));
  const { count, width } = featureSize(config);
  const byView = reshape(features, [rows, views, count, width]);
  const parts = (
    [
      ['external', 0, signature.external],
      ['wrist', signature.external, signature.wrist],
    ] as const
  ).flatMap(([kind, start, many]) => {
    if (many === 0) return [];
    const own = reshape(slice(byView, 1, start, start + many), [rows * many, count, width]);
    const tokens = resample(p, config, own, kind);
    return [reshape(tokens, [rows, many * config.tokens[kind], config.language.shape.hidden])];
  });
  return concat(parts, 1);
}
