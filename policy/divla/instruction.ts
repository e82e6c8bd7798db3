import { add, div, matmul, reshape, silu, type Tensor } from '../tensor/index.ts';
import { embedding, mlp } from '../nn/layers.ts';
import type { Params } from '../nn/params.ts';
import type { DivlaConfig } from './config.ts';

/** Token embeddings, shared by the language model (input and output) and the instruction's embedding. */
export function tokenTable(p: Params, config: DivlaConfig): Tensor {
  const { vocabulary, hidden } = config.language;
  return p.param('language.embed', [vocabulary, hidden], { kind: 'normal', std: 0.05 });
}

/**
 * The instruction as one vector: the mean of its tokens' embeddings through an MLP.
 * @param tokens i64 [B, T]
 * @param mask f32 [B, T], 1 for a token and 0 for padding; at least one token a row
 * @returns [B, E]
 */
export function instructionVector(
  p: Params,
  config: DivlaConfig,
  table: Tensor,
  tokens: Tensor,
  mask: Tensor,
): Tensor {
  const [b, t] = tokens.shape as [number, number];
  const hidden = config.language.hidden;
  const total = reshape(matmul(reshape(mask, [b, 1, t]), embedding(table, tokens)), [b, hidden]);
  const count = matmul(mask, mask.graph.constant(new Float32Array(t).fill(1), [t, 1]));
  const width = config.stem.instruction;
  return silu(mlp(p.scope('instruction'), div(total, count), width, width));
}

/** The vector that modulates a view's stem: the instruction plus the kind of view. */
export function viewVector(p: Params, instruction: Tensor, kind: 'external' | 'wrist'): Tensor {
  const width = instruction.shape[1] as number;
  return add(instruction, p.param(`view.${kind}`, [width], { kind: 'normal', std: 0.1 }));
}
