import type { LayerCache, Project } from '../../backbones/index.ts';
import { lastDim, mlp } from '../../nn/layers.ts';
import type { Params } from '../../nn/params.ts';
import {
  add,
  argmax,
  cast,
  causalBias,
  concat,
  div,
  expand,
  filled,
  greater,
  less,
  loop,
  matmul,
  mul,
  not,
  equal,
  reduceMax,
  reshape,
  slice,
  transpose,
  where,
  type Tensor,
} from '../../tensor/index.ts';
import type { LargeConfig } from './config.ts';
import { hideAbsent, type LargePrompt } from './prompt.ts';
import { OWN_SCOPE } from './views.ts';

/** Ids that end a reasoning and that fill what follows. */
export interface SpokenTokens {
  readonly end: number;
  readonly pad: number;
}

/** How the language model's layers multiply. */
export interface Reading {
  readonly project: Project;
  /** Caches and attention in half precision. */
  readonly half: boolean;
}

/** A prompt that has been read. */
export interface Prefilled {
  /** Mean of the prompt's final states [B, hidden]. */
  readonly pooled: Tensor;
  /** The state behind the last token [B, 1, hidden]. */
  readonly last: Tensor;
  readonly caches: readonly LayerCache[];
}

/** Reads a prompt once. */
export function prefill(
  p: Params,
  config: LargeConfig,
  reading: Reading,
  prompt: LargePrompt,
): Prefilled {
  const { hidden, caches } = config.language.decode(p, {
    x: prompt.x,
    positions: prompt.positions,
    mask: prompt.mask,
    project: reading.project,
    halfAttention: reading.half,
  });
  const length = prompt.x.shape[1] ?? 0;
  return {
    pooled: maskedMean(hidden, prompt.keep),
    last: slice(hidden, 1, length - 1, length),
    caches,
  };
}

/** Mean of x [B, T, C] over the places where mask f32 [B, T] is 1; zero where there is none. */
export function maskedMean(x: Tensor, mask: Tensor): Tensor {
  const [rows, length] = mask.shape as [number, number];
  const total = reshape(matmul(reshape(mask, [rows, 1, length]), x), [rows, lastDim(x)]);
  const ones = x.graph.constant(new Float32Array(length).fill(1), [length, 1]);
  return div(total, add(matmul(mask, ones), 1e-6));
}

/**
 * The reasoning's embedding [B, D]: prompt part and spoken part, each pooled and through an MLP (DiVLA).
 * @param prompt mean of the prompt's states [B, hidden]
 * @param spoken mean of the spoken tokens' final states [B, hidden], zero where nothing is said
 */
export function inject(p: Params, config: LargeConfig, prompt: Tensor, spoken: Tensor): Tensor {
  const own = p.scope(OWN_SCOPE).scope('inject');
  const width = config.reasoning;
  return add(
    mlp(own.scope('prompt'), prompt, width, width),
    mlp(own.scope('spoken'), spoken, width, width),
  );
}

/**
 * Greedy reasoning behind a prompt: one token a trip inside the graph over growing caches, until every row
 * has ended or `tokens` are said.
 * @returns tokens i64 [B, up to `tokens`] (the end and what follows are padding), and the mean of the
 * final states of what was said [B, hidden]
 */
export function speak(
  p: Params,
  config: LargeConfig,
  reading: Reading,
  prompt: LargePrompt,
  read: Prefilled,
  tokens: number,
  special: SpokenTokens,
): { readonly tokens: Tensor; readonly mean: Tensor } {
  const { language } = config;
  const { graph } = prompt.x;
  const [rows, , hidden] = prompt.x.shape as [number, number, number];
  const axes = language.shape.positionAxes;
  const behind = hideAbsent(prompt.keep);
  const flat = read.caches.flatMap(({ k, v }) => [k, v]);
  const first = said(
    argmax(language.logits(p, read.last), -1),
    filled(graph, 1, [rows, 1]),
    special,
  );
  const { carried, scan } = loop(graph, {
    trips: tokens,
    carried: [
      first.token,
      first.speaking,
      filled(graph, 0, [rows, hidden]),
      filled(graph, 0, [rows, 1]),
      // Spoken tokens are always seen: their part of the mask is a growing row of zeros.
      filled(graph, 0, [rows, 1, 1, 0]),
      ...flat,
    ],
    grows: Object.fromEntries([[4, 3], ...flat.map((_, i) => [5 + i, 2])]) as Record<
      number,
      number
    >,
    body: (body, trip, [token, speaking, total, count, seen, ...past]) => {
      if (!token || !speaking || !total || !count || !seen) {
        throw new RangeError('the loop carries the token, its weight, sums and the mask');
      }
      const own = concat([seen, filled(body, 0, [rows, 1, 1, 1])], 3);
      const position = reshape(add(prompt.start, cast(trip, 'float32')), [1, rows, 1]);
      const step = language.decode(p, {
        x: language.embed(p, token),
        positions: expand(position, [axes, rows, 1]),
        mask: concat([behind, own], 3),
        past: pairs(past),
        project: reading.project,
        halfAttention: reading.half,
      });
      const state = reshape(step.hidden, [rows, hidden]);
      const next = said(argmax(language.logits(p, step.hidden), -1), speaking, special);
      return {
        carried: [
          next.token,
          next.speaking,
          add(total, mul(state, speaking)),
          add(count, speaking),
          own,
          ...step.caches.flatMap(({ k, v }) => [k, v]),
        ],
        scan: [token],
        stop: less(reduceMax(next.speaking), 0.5),
      };
    },
  });
  const [, , total, count] = carried;
  const [spoken] = scan;
  if (!total || !count || !spoken) throw new RangeError('the loop gave no reasoning');
  return {
    tokens: transpose(reshape(spoken, [-1, rows]), [1, 0]),
    mean: div(total, add(count, 1e-6)),
  };
}

/** What a prompt with a known reasoning comes to. */
export interface Heard {
  /** Means of the prompt's and of the reasoning's final states [B, hidden]. */
  readonly pooled: Tensor;
  readonly spoken: Tensor;
  /** Final states that choose each token of the reasoning and what follows it, [B, R, hidden]. */
  readonly choosing: Tensor;
}

/**
 * Reads a prompt and a known reasoning behind it at once (teacher forcing).
 * @param said i64 [B, R], the reasoning's tokens, padded on the right
 * @param saidMask f32 [B, R], 1 for the reasoning's own tokens
 */
export function hear(
  p: Params,
  config: LargeConfig,
  project: Project,
  prompt: LargePrompt,
  said: Tensor,
  saidMask: Tensor,
): Heard {
  const { language } = config;
  const { graph } = prompt.x;
  const [rows, count] = prompt.x.shape as [number, number, number];
  const tokens = said.shape[1] ?? 0;
  const length = count + tokens;
  const axes = language.shape.positionAxes;
  const after = graph.constant(
    Array.from({ length: tokens }, (_, i) => i),
    [1, 1, tokens],
  );
  const behind = expand(add(reshape(prompt.start, [1, rows, 1]), after), [axes, rows, tokens]);
  // What fills a reasoning up stands behind its tokens, where none of them looks.
  const keep = concat([prompt.keep, filled(graph, 1, [rows, tokens])], 1);
  const { hidden } = language.decode(p, {
    x: concat([prompt.x, language.embed(p, said)], 1),
    positions: concat([prompt.positions, behind], 2),
    mask: add(hideAbsent(keep), causalBias(graph, length, length)),
    project,
  });
  return {
    pooled: maskedMean(slice(hidden, 1, 0, count), prompt.keep),
    spoken: maskedMean(slice(hidden, 1, count, length), saidMask),
    choosing: slice(hidden, 1, count - 1, length - 1),
  };
}

/** A chosen token i64 [B, 1], or padding where the row has ended; and whether the row speaks on, f32 [B, 1]. */
function said(
  chosen: Tensor,
  speaking: Tensor,
  { end, pad }: SpokenTokens,
): { readonly token: Tensor; readonly speaking: Tensor } {
  const ends = equal(chosen, chosen.graph.constant([end], [1, 1], 'int64'));
  const goesOn = mul(speaking, cast(not(ends), 'float32'));
  const padding = filled(chosen.graph, pad, chosen.shape, 'int64');
  return { token: where(greater(goesOn, 0.5), chosen, padding), speaking: goesOn };
}

function pairs(flat: readonly Tensor[]): LayerCache[] {
  return Array.from({ length: flat.length / 2 }, (_, i) => {
    const [k, v] = [flat[2 * i], flat[2 * i + 1]];
    if (k === undefined || v === undefined) throw new RangeError('a cache lacks its values');
    return { k, v };
  });
}
