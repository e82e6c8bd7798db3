import { add, gelu, reshape, transpose, type Tensor } from '../tensor/index.ts';
import { attend } from '../nn/attention.ts';
import { dense, norm } from '../nn/layers.ts';
import type { Params } from '../nn/params.ts';
import type { DivlaConfig } from './config.ts';

/**
 * Visual tokens of one kind of view: the stem's grid through a SigLIP-style encoder (pre-norm
 * transformer over all patches, fixed position codes) and a resampler to a fixed number of tokens.
 * @param grid [N, h, w, C]
 * @returns [N, tokens, language hidden]
 */
export function visualTokens(
  p: Params,
  config: DivlaConfig,
  grid: Tensor,
  kind: 'external' | 'wrist',
): Tensor {
  const [n, h, w] = grid.shape as [number, number, number];
  const { width, heads, layers } = config.vision;
  const patches = [h / 2, w / 2] as const;
  const count = patches[0] * patches[1];
  const embedded = reshape(dense(p.scope('patch'), spaceToDepth(grid), width), [n, count, width]);
  let x = add(embedded, grid.graph.constant(positionCodes(...patches, width), [1, count, width]));
  for (let i = 0; i < layers; i++) {
    const block = p.scope(`layer${i}`);
    const normed = norm(block.scope('norm1'), x);
    x = add(x, attend(block.scope('attention'), normed, normed, heads));
    const hidden = dense(block.scope('mlp.in'), norm(block.scope('norm2'), x), 2 * width);
    x = add(x, dense(block.scope('mlp.out'), gelu(hidden, 'tanh'), width));
  }
  const resampler = p.scope(`resampler.${kind}`);
  const tokens = kind === 'wrist' ? config.vision.wristTokens : config.vision.externalTokens;
  const queries = resampler.param('queries', [tokens, width], { kind: 'normal', std: 0.3 });
  const asked = attend(
    resampler.scope('attention'),
    reshape(queries, [1, tokens, width]),
    norm(p.scope('norm'), x),
    heads,
  );
  const settled = add(asked, reshape(queries, [1, tokens, width]));
  return dense(p.scope('project'), norm(resampler.scope('norm'), settled), config.language.hidden);
}

/** Fixed two-dimensional sine codes: half of the width for the row, half for the column. */
export function positionCodes(h: number, w: number, width: number): Float32Array {
  const quarter = width / 4;
  const out = new Float32Array(h * w * width);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      for (let i = 0; i < quarter; i++) {
        const rate = 100 ** (-i / quarter) * Math.PI;
        const at = (y * w + x) * width + i;
        out[at] = Math.sin(((y + 0.5) / h) * rate * h);
        out[at + quarter] = Math.cos(((y + 0.5) / h) * rate * h);
        out[at + 2 * quarter] = Math.sin(((x + 0.5) / w) * rate * w);
        out[at + 3 * quarter] = Math.cos(((x + 0.5) / w) * rate * w);
      }
    }
  }
  return out;
}

/** x [N, H, W, C] → [N, H/2, W/2, 4C]: each 2×2 block of cells becomes one. */
function spaceToDepth(x: Tensor): Tensor {
  const [n, h, w, c] = x.shape as [number, number, number, number];
  const blocks = reshape(x, [n, h / 2, 2, w / 2, 2, c]);
  return reshape(transpose(blocks, [0, 1, 3, 2, 4, 5]), [n, h / 2, w / 2, 4 * c]);
}
