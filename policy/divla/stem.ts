import {
  add,
  cast,
  concat,
  conv2d,
  matmul,
  mul,
  pad,
  reduceSum,
  reshape,
  silu,
  slice,
  softmax,
  sub,
  transpose,
  windows,
  type Tensor,
} from '../tensor/index.ts';
import { affine, dense, lastDim, modulate, norm } from '../nn/layers.ts';
import { fanIn, zeros, type Params } from '../nn/params.ts';
import type { DivlaConfig } from './config.ts';

/** Side of a cell of the grid and of the patch that it sees, pixels. */
const CELL = 4;
const PATCH = 8;
const MIDDLE = 127.5;

/**
 * The patch of 8×8 pixels around every cell of 4×4: u8 [N, H, W, 3] → f32 [N, H/4, W/4, 192] in
 * [0, 255]. Bytes are moved, and numbers made of them once: a convolution's copies would be four times
 * as large. Grey lies around the picture.
 */
export function pixelPatches(pixels: Tensor): Tensor {
  const [n, h, w, c] = pixels.shape as [number, number, number, number];
  const margin = (PATCH - CELL) / 2;
  const room = pad(
    pixels,
    [
      [0, 0],
      [margin, margin],
      [margin, margin],
      [0, 0],
    ],
    Math.round(MIDDLE),
  );
  const perRow = (w + 2 * margin) / CELL;
  const taps = Array.from({ length: (h / CELL) * (w / CELL) }, (_, cell) => {
    const [top, left] = [Math.floor(cell / (w / CELL)) * CELL, cell % (w / CELL)];
    return Array.from({ length: PATCH }, (_, y) => (top + y) * perRow + left).flatMap((start) =>
      Array.from({ length: PATCH / CELL }, (_, x) => start + x),
    );
  });
  const strips = reshape(room, [n, (h + 2 * margin) * perRow, CELL * c]);
  const patches = cast(windows(strips, taps), 'float32');
  return reshape(patches, [n, h / CELL, w / CELL, PATCH * PATCH * c]);
}

/**
 * Affine layer on patches as if they were in [-1, 1]: what brings them there is done to the weights, which are
 * thousands of times fewer.
 */
function densePatches(p: Params, patches: Tensor, out: number): Tensor {
  const width = lastDim(patches);
  const weight = p.param('weight', [out, width], fanIn(width), true);
  const bias = p.param('bias', [out], zeros);
  return affine(patches, mul(weight, 1 / MIDDLE), sub(bias, reduceSum(weight, [1])));
}

/**
 * The part of the stem that does not read the instruction, so that several instructions share it:
 * patches through two affine layers, then plain residual blocks.
 * @param pixels u8 [N, H, W, 3] with H and W divisible by 8
 * @returns [N, H/4, W/4, width]
 */
export function stemGrid(p: Params, config: DivlaConfig, pixels: Tensor): Tensor {
  const { first, width, plain } = config.stem;
  const fine = silu(densePatches(p.scope('first'), pixelPatches(pixels), first));
  const coarse = silu(dense(p.scope('second'), fine, width));
  const mixed = plain.reduce((x, kind, i) => {
    const block = p.scope(`plain${i}`);
    return add(x, dense(block.scope('out'), silu(mix(block.scope('mix'), kind, x, width)), width));
  }, coarse);
  return norm(p.scope('norm'), mixed);
}

/**
 * The blocks that the instruction modulates.
 * @param grid [N, h, w, C]
 * @param instruction [N, E]
 */
export function stemBlocks(
  p: Params,
  config: DivlaConfig,
  grid: Tensor,
  instruction: Tensor,
): Tensor {
  const { width, modulated } = config.stem;
  const film = dense(p.scope('film'), instruction, modulated.length * 2 * width, {
    init: { kind: 'normal', std: 0.05 },
  });
  return modulated.reduce((x, kind, i) => {
    const block = p.scope(`block${i}`);
    const scale = slice(film, 1, 2 * i * width, (2 * i + 1) * width);
    const offset = slice(film, 1, (2 * i + 1) * width, (2 * i + 2) * width);
    const y = silu(modulate(mix(block.scope('mix'), kind, x, width), scale, offset));
    return add(x, dense(block.scope('out'), y, width));
  }, grid);
}

/** Mixes each cell with its neighbours. */
function mix(p: Params, kind: 'shift' | 'conv', x: Tensor, width: number): Tensor {
  return kind === 'conv' ? conv3(p, x, width) : dense(p, shift(x), width);
}

/**
 * Spatial soft-argmax (Finn et al. 2016) with a learned offset inside each cell, and features pooled
 * with the same weights.
 * @param grid [N, h, w, C]
 * @returns points [N, K, 2] in [-1, 1] (x to the right, y down) and pooled features [N, K, F]
 */
export function softArgmax(
  p: Params,
  config: DivlaConfig,
  grid: Tensor,
): { points: Tensor; pooled: Tensor } {
  const [n, h, w, c] = grid.shape as [number, number, number, number];
  const { points: k, pooled: f } = config.stem;
  const cells = reshape(norm(p.scope('norm'), grid), [n, h * w, c]);
  const scores = dense(p.scope('scores'), cells, k, { init: { kind: 'normal', std: 0.1 } });
  const weights = softmax(transpose(scores, [0, 2, 1]), -1);
  const features = dense(p.scope('features'), cells, 2 + f, {
    init: { kind: 'normal', std: 0.02 },
  });
  const centres = grid.graph.constant(cellCentres(h, w), [1, h * w, 2]);
  const places = add(slice(features, 2, 0, 2), centres);
  const found = matmul(weights, concat([places, slice(features, 2, 2, 2 + f)], 2));
  return { points: slice(found, 2, 0, 2), pooled: slice(found, 2, 2, 2 + f) };
}

/** Centres of the cells of an h × w grid, (x, y) in [-1, 1], row by row. */
export function cellCentres(h: number, w: number): Float32Array {
  const out = new Float32Array(h * w * 2);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      out[(y * w + x) * 2] = ((x + 0.5) / w) * 2 - 1;
      out[(y * w + x) * 2 + 1] = ((y + 0.5) / h) * 2 - 1;
    }
  }
  return out;
}

/** A fifth of the channels each from the cell, its left, right, upper and lower neighbour. */
function shift(x: Tensor): Tensor {
  const c = lastDim(x);
  const part = Math.ceil(c / 5);
  const bounds = [0, 1, 2, 3, 4, 5].map((i) => Math.min(i * part, c)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const channels = (i: 0 | 1 | 2 | 3 | 4): Tensor =>
    slice(x, 3, bounds[i], bounds[i + 1] as number);
  return concat(
    [
      channels(0),
      moved(channels(1), 1, 1),
      moved(channels(2), 1, -1),
      moved(channels(3), 2, 1),
      moved(channels(4), 2, -1),
    ],
    3,
  );
}

function moved(x: Tensor, axis: number, by: 1 | -1): Tensor {
  const size = x.shape[axis] as number;
  const edge: readonly [number, number] = by === 1 ? [1, 0] : [0, 1];
  const none: readonly [number, number] = [0, 0];
  const pads = x.shape.map((_, i) => (i === axis ? edge : none));
  return pad(by === 1 ? slice(x, axis, 0, size - 1) : slice(x, axis, 1, size), pads);
}

/** 3×3 convolution, stride 1, same size: x [N, H, W, C] → [N, H, W, out]. */
function conv3(p: Params, x: Tensor, out: number): Tensor {
  const c = lastDim(x);
  const weight = p.param(
    'weight',
    [3, 3, c, out],
    { kind: 'uniform', bound: 1 / Math.sqrt(9 * c) },
    true,
  );
  return conv2d(x, weight, { padding: 1, bias: p.param('bias', [out], zeros) });
}
