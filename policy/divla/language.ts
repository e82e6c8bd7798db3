import {
  add,
  concat,
  cos,
  matmul,
  mul,
  neg,
  reshape,
  silu,
  sin,
  slice,
  softmax,
  transpose,
  type Tensor,
} from '../tensor/index.ts';
import { dense, rms } from '../nn/layers.ts';
import type { Params } from '../nn/params.ts';
import type { DivlaConfig } from './config.ts';

/** Keys and values of one layer: k [B, kv, width, T], v [B, kv, T, width]. */
export interface LayerCache {
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Added to a score that must not be seen. */
export const MASKED = -1e9;

/**
 * Qwen2-style decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU.
 * @param x [B, T, hidden], input embeddings
 * @param positions f32 [B, T]
 * @param mask added to the scores: broadcastable to [B, 1, 1, T, past + T]
 * @param past the cache of what came before, a layer each
 * @returns hidden states after the last norm [B, T, hidden], and the caches grown by T
 */
export function decode(
  p: Params,
  config: DivlaConfig,
  x: Tensor,
  positions: Tensor,
  mask: Tensor,
  past?: readonly LayerCache[],
): { hidden: Tensor; caches: LayerCache[] } {
  const { layers, normEps, hidden, intermediate } = config.language;
  const rotary = rotaryTables(config, positions);
  const caches: LayerCache[] = [];
  let h = x;
  for (let i = 0; i < layers; i++) {
    const layer = p.scope(`layer${i}`);
    const attended = attention(
      layer.scope('attention'),
      config,
      rms(layer.scope('norm1'), h, normEps),
      rotary,
      mask,
      past?.[i],
    );
    caches.push(attended.cache);
    h = add(h, attended.y);
    const normed = rms(layer.scope('norm2'), h, normEps);
    const gate = silu(dense(layer.scope('gate'), normed, intermediate, { bias: false }));
    const up = dense(layer.scope('up'), normed, intermediate, { bias: false });
    h = add(h, dense(layer.scope('down'), mul(gate, up), hidden, { bias: false }));
  }
  return { hidden: rms(p.scope('norm'), h, normEps), caches };
}

interface Rotary {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** Rotary tables [B, T, 1, headDim], half convention (Su et al. 2021, as Qwen2 has it). */
function rotaryTables(config: DivlaConfig, positions: Tensor): Rotary {
  const { headDim, ropeTheta } = config.language;
  const half = headDim / 2;
  const rates = Float32Array.from({ length: half }, (_, i) => ropeTheta ** (-i / half));
  const [b, t] = positions.shape as [number, number];
  const graph = positions.graph;
  const angles = mul(reshape(positions, [b, t, 1, 1]), graph.constant(rates, [1, 1, 1, half]));
  const both = concat([angles, angles], 3);
  return { cos: cos(both), sin: sin(both) };
}

function rotate(x: Tensor, rotary: Rotary): Tensor {
  const size = x.shape[3] as number;
  const swapped = concat([neg(slice(x, 3, size / 2, size)), slice(x, 3, 0, size / 2)], 3);
  return add(mul(x, rotary.cos), mul(swapped, rotary.sin));
}

function attention(
  p: Params,
  config: DivlaConfig,
  x: Tensor,
  rotary: Rotary,
  mask: Tensor,
  past: LayerCache | undefined,
): { y: Tensor; cache: LayerCache } {
  const { heads, kvHeads, headDim, hidden } = config.language;
  const [b, t] = x.shape as [number, number];
  const group = heads / kvHeads;
  const q = rotate(
    reshape(dense(p.scope('q'), x, heads * headDim), [b, t, heads, headDim]),
    rotary,
  );
  const k = rotate(
    reshape(dense(p.scope('k'), x, kvHeads * headDim), [b, t, kvHeads, headDim]),
    rotary,
  );
  const v = reshape(dense(p.scope('v'), x, kvHeads * headDim), [b, t, kvHeads, headDim]);
  const newK = transpose(k, [0, 2, 3, 1]);
  const newV = transpose(v, [0, 2, 1, 3]);
  const cache: LayerCache =
    past === undefined
      ? { k: newK, v: newV }
      : { k: concat([past.k, newK], 3), v: concat([past.v, newV], 2) };
  const grouped = transpose(reshape(q, [b, t, kvHeads, group, headDim]), [0, 2, 3, 1, 4]);
  const length = cache.k.shape[3] as number;
  // Queries of a group share keys: [B, kv, group, T, d] against [B, kv, 1, d, S].
  const keys = reshape(cache.k, [b, kvHeads, 1, headDim, length]);
  const values = reshape(cache.v, [b, kvHeads, 1, length, headDim]);
  const scores = add(mul(matmul(grouped, keys), 1 / Math.sqrt(headDim)), mask);
  const mixed = matmul(softmax(scores, -1), values);
  const merged = reshape(transpose(mixed, [0, 3, 1, 2, 4]), [b, t, heads * headDim]);
  return { y: dense(p.scope('out'), merged, hidden, { bias: false }), cache };
}
