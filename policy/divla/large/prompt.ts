import type { Params } from '../../nn/params.ts';
import {
  add,
  causalBias,
  concat,
  expand,
  matmul,
  mul,
  reshape,
  sub,
  type Tensor,
} from '../../tensor/index.ts';
import { viewsOf, type LargeConfig, type LargeSignature } from './config.ts';

/** A row's views and instruction as the language model reads them. */
export interface LargePrompt {
  /** [B, T, hidden] */
  readonly x: Tensor;
  /** f32 [axes, B, T] */
  readonly positions: Tensor;
  /** f32 [B, T], 1 for a token that is there. */
  readonly keep: Tensor;
  /** f32 [B, 1, T, T] */
  readonly mask: Tensor;
  /** f32 [B], the position of the first token that follows. */
  readonly start: Tensor;
}

const HIDDEN = -1e9;

/**
 * Visual tokens, then the instruction, which ends at the last place so that what is said goes on from it.
 * A view has its own positions whatever other views there are, so that a row reads the same alone as
 * beside rows with more views: the first external and the first wrist view lie before the text, further
 * pairs before those.
 * @param visual [B, visual tokens, hidden]
 * @param present f32 [B, V], 0 for a view that the row does not have
 * @param tokens i64 [B, T], padded on the left
 * @param tokenMask f32 [B, T], 1 for a token; at least one a row
 */
export function promptOf(
  p: Params,
  config: LargeConfig,
  signature: LargeSignature,
  visual: Tensor,
  present: Tensor,
  tokens: Tensor,
  tokenMask: Tensor,
): LargePrompt {
  const { graph } = visual;
  const [rows, count] = visual.shape as [number, number, number];
  const { external, wrist, textTokens } = signature;
  const seen = viewRuns(config, signature);
  const text = config.tokens.external + config.tokens.wrist;
  const x = concat([visual, config.language.embed(p, tokens)], 1);
  const shown = matmul(present, graph.constant(seen.belongs, [external + wrist, count]));
  const keep = concat([shown, tokenMask], 1);
  // How many tokens of the text stand up to and at each place.
  const upTo = Float32Array.from({ length: textTokens ** 2 }, (_, i) =>
    Math.floor(i / textTokens) <= i % textTokens ? 1 : 0,
  );
  const told = matmul(tokenMask, graph.constant(upTo, [textTokens, textTokens]));
  const ofViews = expand(graph.constant(seen.positions, [1, count]), [rows, count]);
  const positions = concat([ofViews, add(told, text - 1)], 1);
  const axes = config.language.shape.positionAxes;
  const length = count + textTokens;
  const total = matmul(
    tokenMask,
    graph.constant(new Float32Array(textTokens).fill(1), [textTokens, 1]),
  );
  return {
    x,
    positions: expand(reshape(positions, [1, rows, length]), [axes, rows, length]),
    keep,
    mask: add(hideAbsent(keep), causalBias(graph, length, length)),
    start: add(reshape(total, [rows]), text),
  };
}

/** Adds to scores what hides absent keys: f32 [B, T] → [B, 1, 1, T]. */
export function hideAbsent(keep: Tensor): Tensor {
  const [rows, length] = keep.shape as [number, number];
  return reshape(mul(sub(1, keep), HIDDEN), [rows, 1, 1, length]);
}

/** The position of every visual token, and [V, tokens] that says which view it is of. */
function viewRuns(
  { tokens }: LargeConfig,
  signature: LargeSignature,
): { readonly positions: Float32Array; readonly belongs: Float32Array } {
  const block = tokens.external + tokens.wrist;
  const starts = [
    ...Array.from({ length: signature.external }, (_, i) => -i * block),
    ...Array.from({ length: signature.wrist }, (_, i) => tokens.external - i * block),
  ];
  const positions = starts.flatMap((start, view) => {
    const many = view < signature.external ? tokens.external : tokens.wrist;
    return Array.from({ length: many }, (_, i) => ({ view, at: start + i }));
  });
  const belongs = new Float32Array(viewsOf(signature) * positions.length);
  positions.forEach(({ view }, i) => {
    belongs[view * positions.length + i] = 1;
  });
  return { positions: Float32Array.from(positions, ({ at }) => at), belongs };
}
