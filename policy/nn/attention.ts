import { matmul, mul, reshape, softmax, transpose, type Tensor } from '../tensor/index.ts';
import { dense, lastDim } from './layers.ts';
import type { Params } from './params.ts';

/**
 * Multi-head attention of every query to every key, without a mask (an image's patches, a
 * resampler's queries).
 * @param query [N or 1, Tq, C]
 * @param memory [N, Tk, C]
 * @returns [N, Tq, C]
 */
export function attend(p: Params, query: Tensor, memory: Tensor, heads: number): Tensor {
  const width = lastDim(query);
  const [n, tk] = memory.shape as [number, number];
  const [nq, tq] = query.shape as [number, number];
  const size = width / heads;
  const split = (x: Tensor, rows: number, length: number): Tensor =>
    reshape(x, [rows, length, heads, size]);
  const q = transpose(split(dense(p.scope('q'), query, width), nq, tq), [0, 2, 1, 3]);
  const k = transpose(split(dense(p.scope('k'), memory, width), n, tk), [0, 2, 3, 1]);
  const v = transpose(split(dense(p.scope('v'), memory, width), n, tk), [0, 2, 1, 3]);
  const weights = softmax(mul(matmul(q, k), 1 / Math.sqrt(size)), -1);
  const mixed = reshape(transpose(matmul(weights, v), [0, 2, 1, 3]), [n, tq, width]);
  return dense(p.scope('out'), mixed, width);
}
