import { add, attentionBias, reshape, type Graph, type Tensor } from '../tensor/index.ts';

const HIDDEN = -1e9;

/** Hides later keys from `queries` tokens over `keys` that end with them: f32 [1, 1, queries, keys]. */
export function causalMask(graph: Graph, queries: number, keys: number): Tensor {
  const values = Float32Array.from({ length: queries * keys }, (_, n) =>
    n % keys > Math.floor(n / keys) + keys - queries ? HIDDEN : 0,
  );
  return graph.constant(values, [1, 1, queries, keys]);
}

/** The mask of prompts with padding: keep i64 [B, T], 1 for a token, → f32 [B, 1, T, T]. */
export function promptMask(keep: Tensor): Tensor {
  const [batch, length] = keep.shape as [number, number];
  const bias = reshape(attentionBias(keep), [batch, 1, 1, length]);
  return add(bias, causalMask(keep.graph, length, length));
}
