import { z } from 'zod';
import { affine, dense, lastDim, norm } from '../nn/layers.ts';
import { fanIn, type Params } from '../nn/params.ts';
import {
  add,
  attention,
  concat,
  gelu,
  quickGelu,
  reshape,
  rotate,
  rotationOf,
  slice,
  transpose,
  type Rotation,
  type Tensor,
} from '../tensor/index.ts';
import { ModelConfigError } from './errors.ts';
import { member, readFields, size } from './fields.ts';
import type { VisionGrid } from './positions.ts';

/** Qwen2-VL's vision tower (Wang et al. 2024): any image size, two-dimensional rotary positions. */
export interface QwenVisionShape {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly intermediate: number;
  readonly channels: number;
  readonly patch: number;
  /** Frames that one patch spans. */
  readonly frames: number;
  readonly merge: number;
  /** Width of the visual tokens: the language model's. */
  readonly out: number;
}

export interface QwenVisionResult {
  /** [patches, width] */
  readonly embedded: Tensor;
  /** After each block, [patches, width]. */
  readonly blocks: readonly Tensor[];
  /** [patches/merge², out], one image after the other. */
  readonly merged: Tensor;
}

const EPS = 1e-6;
const THETA = 10_000;

const visionFields = z.object({
  embed_dim: size,
  depth: size,
  num_heads: size,
  mlp_ratio: size,
  patch_size: size,
  temporal_patch_size: size,
  spatial_merge_size: size,
  hidden_size: size,
  channels: size,
  hidden_act: z.literal('quick_gelu').nullish(),
});

/** @throws ModelConfigError when `vision_config` is absent or does not fit. */
export function qwenVisionShape(config: Readonly<Record<string, unknown>>): QwenVisionShape {
  const vision = member(config, 'vision_config');
  if (vision === undefined) throw new ModelConfigError('config.json has no vision_config');
  const channels = vision['in_channels'] ?? vision['in_chans'];
  const fields = readFields(visionFields, { ...vision, channels }, 'qwen2_vl: vision_config');
  return {
    width: fields.embed_dim,
    layers: fields.depth,
    heads: fields.num_heads,
    intermediate: fields.embed_dim * fields.mlp_ratio,
    channels: fields.channels,
    patch: fields.patch_size,
    frames: fields.temporal_patch_size,
    merge: fields.spatial_merge_size,
    out: fields.hidden_size,
  };
}

/**
 * Visual tokens of images of known grids.
 * @param p scope `visual`
 * @param pixels [patches, channels·frames·patch²], the four patches of a merged one after each other
 */
export function qwenVision(
  p: Params,
  shape: QwenVisionShape,
  grids: readonly VisionGrid[],
  pixels: Tensor,
): QwenVisionResult {
  const turn = rotationOf(angles(shape, grids, pixels));
  const frames = grids.flatMap(({ time, height, width }) =>
    Array.from({ length: time }, () => height * width),
  );
  const embedded = patchEmbed(p.scope('patch_embed.proj'), shape, pixels);
  const blocks: Tensor[] = [];
  let x = embedded;
  for (let i = 0; i < shape.layers; i += 1) {
    const block = p.scope(`blocks.${i}`);
    x = add(
      x,
      attend(block.scope('attn'), shape, norm(block.scope('norm1'), x, EPS), turn, frames),
    );
    const inner = norm(block.scope('norm2'), x, EPS);
    const hidden = quickGelu(dense(block.scope('mlp.fc1'), inner, shape.intermediate));
    x = add(x, dense(block.scope('mlp.fc2'), hidden, shape.width));
    blocks.push(x);
  }
  return { embedded, blocks, merged: merge(p.scope('merger'), shape, x) };
}

/** A 3-D convolution whose stride is its kernel: one product. */
function patchEmbed(p: Params, shape: QwenVisionShape, pixels: Tensor): Tensor {
  const { width, channels, frames, patch } = shape;
  const inner = channels * frames * patch ** 2;
  const weight = p.param('weight', [width, channels, frames, patch, patch], fanIn(inner), true);
  return affine(pixels, reshape(weight, [width, inner]));
}

function merge(p: Params, shape: QwenVisionShape, x: Tensor): Tensor {
  const joined = shape.width * shape.merge ** 2;
  const normed = reshape(norm(p.scope('ln_q'), x, EPS), [-1, joined]);
  return dense(p.scope('mlp.2'), gelu(dense(p.scope('mlp.0'), normed, joined), 'erf'), shape.out);
}

/** Attention within each frame; `frames` are their patch counts. */
function attend(
  p: Params,
  shape: QwenVisionShape,
  x: Tensor,
  turn: Rotation,
  frames: readonly number[],
): Tensor {
  const [patches, width] = [x.shape[0] ?? 0, lastDim(x)];
  const size = width / shape.heads;
  const all = reshape(dense(p.scope('qkv'), x, 3 * width), [1, patches, 3, shape.heads, size]);
  const [q, k, v] = [0, 1, 2].map((i) => {
    const part = reshape(slice(all, 2, i, i + 1), [1, patches, shape.heads, size]);
    return transpose(part, [0, 2, 1, 3]);
  }) as [Tensor, Tensor, Tensor];
  const mixed = perFrame([rotate(q, turn), rotate(k, turn), v], frames);
  return dense(p.scope('proj'), reshape(transpose(mixed, [0, 2, 1, 3]), [patches, width]), width);
}

function perFrame([q, k, v]: readonly [Tensor, Tensor, Tensor], frames: readonly number[]): Tensor {
  let end = 0;
  const parts = frames.map((count) => {
    const start = end;
    end += count;
    const own = (t: Tensor): Tensor => slice(t, 2, start, end);
    return attention(own(q), own(k), own(v));
  });
  return concat(parts, 2);
}

/** Angles [1, patches, head width/2]: the row turns the first half of the frequencies, the column the rest. */
function angles(shape: QwenVisionShape, grids: readonly VisionGrid[], pixels: Tensor): Tensor {
  const quarter = shape.width / shape.heads / 4;
  const rates = Array.from({ length: quarter }, (_, i) => THETA ** (-i / quarter));
  const values = grids.flatMap((grid) =>
    patchPlaces(grid, shape.merge).flatMap(([row, column]) => [
      ...rates.map((rate) => row * rate),
      ...rates.map((rate) => column * rate),
    ]),
  );
  const patches = values.length / (2 * quarter);
  if (patches !== pixels.shape[0]) {
    throw new RangeError(`the grids have ${patches} patches, ${pixels.shape[0] ?? 0} are given`);
  }
  return pixels.graph.constant(Float32Array.from(values), [1, patches, 2 * quarter]);
}

/** Row and column of every patch, those of one merged patch after each other. */
export function patchPlaces(grid: VisionGrid, merge: number): [number, number][] {
  const one: [number, number][] = [];
  for (let y = 0; y < grid.height; y += merge) {
    for (let x = 0; x < grid.width; x += merge) {
      for (let i = 0; i < merge ** 2; i += 1)
        one.push([y + Math.floor(i / merge), x + (i % merge)]);
    }
  }
  return Array.from({ length: grid.time }, () => one).flat();
}
