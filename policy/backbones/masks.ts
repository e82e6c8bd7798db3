import { add, attentionBias, causalBias, reshape, type Tensor } from '../tensor/index.ts';

/** The mask of prompts with padding: keep i64 [B, T], 1 for a token, → f32 [B, 1, T, T]. */
export function promptMask(keep: Tensor): Tensor {
  const [batch, length] = keep.shape as [number, number];
  const bias = reshape(attentionBias(keep), [batch, 1, 1, length]);
  return add(bias, causalBias(keep.graph, length, length));
}
