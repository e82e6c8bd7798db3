import { add, concat, expand, mul, reshape, slice, sub, type Tensor } from '../tensor/index.ts';
import type { Bank } from '../nn/bank.ts';
import { dense, embedding, norm } from '../nn/layers.ts';
import type { Params } from '../nn/params.ts';
import type { DivlaConfig, Signature } from './config.ts';
import { decodeActions, encodeActions } from './head.ts';
import { instructionVector, tokenTable, viewVector } from './instruction.ts';
import type { Prompt } from './reasoning.ts';
import { softArgmax, stemBlocks, stemGrid } from './stem.ts';
import { stepFilm, type Film, type Modulation } from './film.ts';
import { stepVector, unet } from './unet.ts';
import { visualTokens } from './vision.ts';

/** What a robot's views and instruction come to. */
export interface Seen {
  /** The modulated grids of each share of the rows, [R·V / shares, h, w, C], views of a row side by side. */
  readonly grids: readonly Tensor[];
  /** Soft-argmax points [R, V, K, 2], x to the right and y down, in [-1, 1]. */
  readonly points: Tensor;
  /** One summary a view [R, V, S]: points, then the features pooled there. */
  readonly summary: Tensor;
}

/**
 * Views and instruction through the stem. Several instructions may share one picture.
 * @param images u8 [P, V, height, width, 3]
 * @param tokens i64 [R, T] with R a multiple of P: the instructions of a picture are neighbours
 * @param mask f32 [R, T]
 * @param shares equal parts of the pictures that pass the stem one after the other, so that in training what
 * lies between its layers stays in the processor's cache
 */
export function see(
  p: Params,
  config: DivlaConfig,
  signature: Signature,
  images: Tensor,
  tokens: Tensor,
  mask: Tensor,
  shares = 1,
): Seen {
  const [pictures, views, height, width] = images.shape as [number, number, number, number];
  const rows = tokens.shape[0] ?? 1;
  const trunk = p.scope('trunk');
  const stem = trunk.scope('stem');
  const instruction = instructionVector(trunk, config, tokenTable(trunk, config), tokens, mask);
  const vectors = concat(
    viewKinds(signature).map((kind) =>
      reshape(viewVector(trunk, instruction, kind), [rows, 1, config.stem.instruction]),
    ),
    1,
  );
  const [some, told] = [pictures / shares, rows / shares];
  const parts = Array.from({ length: shares }, (_, i) => {
    const pixels = part(images, i * some, some);
    const grid = stemGrid(stem, config, reshape(pixels, [some * views, height, width, 3]));
    const [, h, w, c] = grid.shape as [number, number, number, number];
    const shared = reshape(grid, [some, 1, views, h, w, c]);
    const repeated = expand(shared, [some, told / some, views, h, w, c]);
    const modulated = stemBlocks(
      stem,
      config,
      reshape(repeated, [told * views, h, w, c]),
      reshape(part(vectors, i * told, told), [told * views, config.stem.instruction]),
    );
    return { grid: modulated, ...softArgmax(stem.scope('points'), config, modulated) };
  });
  const { points: k, pooled: f } = config.stem;
  const [found, pooled] = [
    joined(parts.map((share) => share.points)),
    joined(parts.map((share) => share.pooled)),
  ];
  const features = norm(stem.scope('pooled'), reshape(pooled, [rows, views, k * f]));
  return {
    grids: parts.map((share) => share.grid),
    points: reshape(found, [rows, views, k, 2]),
    summary: concat([reshape(found, [rows, views, k * 2]), features], 2),
  };
}

function part(x: Tensor, start: number, count: number): Tensor {
  return count === x.shape[0] ? x : slice(x, 0, start, start + count);
}

function joined(parts: readonly Tensor[]): Tensor {
  const [only, ...rest] = parts;
  return only !== undefined && rest.length === 0 ? only : concat(parts, 0);
}

function viewKinds(signature: Signature): ('external' | 'wrist')[] {
  return [
    ...Array.from({ length: signature.external }, () => 'external' as const),
    ...Array.from({ length: signature.wrist }, () => 'wrist' as const),
  ];
}

/** Zeroes the summaries of views that a row does not have: present f32 [R, V]. */
export function presentViews(summary: Tensor, present: Tensor): Tensor {
  return mul(summary, reshape(present, [...present.shape, 1]));
}

/**
 * The language model's prompt: visual tokens of every view, one token a view that says where its
 * points are, then the instruction.
 * @param grids and summary as `see` gives them
 * @param present f32 [R, V], 0 for a view that the row does not have
 */
export function promptOf(
  p: Params,
  config: DivlaConfig,
  signature: Signature,
  { grids, summary }: Pick<Seen, 'grids' | 'summary'>,
  present: Tensor,
  tokens: Tensor,
  mask: Tensor,
): Prompt {
  const [rows, views] = present.shape as [number, number];
  const grid = joined(grids);
  const [, h, w, c] = grid.shape as [number, number, number, number];
  const trunk = p.scope('trunk');
  const byView = reshape(grid, [rows, views, h, w, c]);
  const hidden = config.language.hidden;
  const parts: Tensor[] = [];
  const masks: Tensor[] = [];
  for (const [kind, start, count] of [
    ['external', 0, signature.external],
    ['wrist', signature.external, signature.wrist],
  ] as const) {
    if (count === 0) continue;
    const ofKind = reshape(slice(byView, 1, start, start + count), [rows * count, h, w, c]);
    const seen = visualTokens(trunk.scope('vision'), config, ofKind, kind);
    const each = seen.shape[1] as number;
    parts.push(reshape(seen, [rows, count * each, hidden]));
    const here = reshape(slice(present, 1, start, start + count), [rows, count, 1]);
    masks.push(reshape(expand(here, [rows, count, each]), [rows, count * each]));
  }
  const places = dense(trunk.scope('vision.places'), summary, hidden);
  const table = tokenTable(trunk, config);
  return {
    embedded: concat([...parts, places, embedding(table, tokens)], 1),
    mask: concat([...masks, present, mask], 1),
    ...promptPositions(config, signature),
  };
}

/**
 * Positions of a prompt's tokens. A view has its own whatever other views there are, so that a row
 * without a wrist view reads the same alone as beside one that has it: the first external and wrist
 * view lie before the text, further pairs before those.
 */
export function promptPositions(
  config: DivlaConfig,
  signature: Signature,
): Pick<Prompt, 'positions' | 'next'> {
  const { externalTokens, wristTokens } = config.vision;
  const block = externalTokens + wristTokens + 2;
  const run = (start: number, count: number): number[] =>
    Array.from({ length: count }, (_, i) => start + i);
  const views = (count: number, start: number, tokens: number): number[] =>
    run(0, count).flatMap((view) => run(start - view * block, tokens));
  const { external, wrist } = signature;
  return {
    positions: [
      ...views(external, 0, externalTokens),
      ...views(wrist, externalTokens, wristTokens),
      ...views(external, block - 2, 1),
      ...views(wrist, block - 1, 1),
      ...run(block, config.language.textTokens),
    ],
    next: block + config.language.textTokens,
  };
}

/** Modulation by diffusion steps t f32 [N] → [N, 2·Σ]. */
export function filmOfSteps(p: Params, config: DivlaConfig, t: Tensor): Film {
  const decoder = p.scope('trunk').scope('decoder');
  return stepFilm(decoder, config, stepVector(decoder.scope('step'), config, t));
}

/** What the decoder predicts of noisy actions x [N, H, A] under a modulation: noise or velocity. */
export function predict(
  p: Params,
  config: DivlaConfig,
  bank: Bank,
  x: Tensor,
  modulation: Modulation,
): Tensor {
  const head = p.scope('head');
  const encoded = encodeActions(head, config, bank, x);
  const decoded = unet(p.scope('trunk').scope('decoder'), config, encoded, modulation);
  return decodeActions(head, config, bank, decoded);
}

/**
 * Clean actions as noisy as a diffusion step has them.
 * @param root √ā and rest √(1−ā), broadcast over the actions
 */
export function addNoise(clean: Tensor, noise: Tensor, root: Tensor, rest: Tensor): Tensor {
  return add(mul(clean, root), mul(noise, rest));
}

/**
 * What the decoder has to predict.
 * @param root √ā and rest √(1−ā), broadcast over the actions
 */
export function predictionTarget(
  config: DivlaConfig,
  clean: Tensor,
  noise: Tensor,
  root: Tensor,
  rest: Tensor,
): Tensor {
  if (config.diffusion.prediction === 'epsilon') return noise;
  return sub(mul(noise, root), mul(clean, rest));
}
