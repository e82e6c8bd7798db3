import {
  add,
  argmax,
  cast,
  causalBias,
  concat,
  div,
  equal,
  expand,
  filled,
  greater,
  less,
  linear,
  loop,
  matmul,
  mul,
  not,
  reduceMax,
  reshape,
  slice,
  sub,
  transpose,
  where,
  type Graph,
  type Tensor,
} from '../tensor/index.ts';
import { embedding, lastDim, mlp } from '../nn/layers.ts';
import type { Params } from '../nn/params.ts';
import type { DivlaConfig } from './config.ts';
import { MASKED, decode, type LayerCache } from './language.ts';

/** Ids of the tokenizer's special tokens that frame a reasoning. */
export interface ReasoningTokens {
  readonly begin: number;
  readonly end: number;
  readonly pad: number;
}

/** A prompt: visual tokens of every view, then the instruction. */
export interface Prompt {
  /** [B, P, hidden]. */
  readonly embedded: Tensor;
  /** f32 [B, P], 1 for a token that is there. */
  readonly mask: Tensor;
  /** Rotary position of each token, and of the first that follows. */
  readonly positions: readonly number[];
  readonly next: number;
}

/** Adds to scores what hides masked keys: mask f32 [B, S] → [B, 1, 1, 1, S]. */
function keyMask(mask: Tensor): Tensor {
  const [b, s] = mask.shape as [number, number];
  return reshape(mul(sub(mask, 1), -MASKED), [b, 1, 1, 1, s]);
}

/** Positions of the prompt and of `spoken` tokens after it, f32 [B, P + spoken]. */
function positionsOf(graph: Graph, rows: number, prompt: Prompt, spoken: number): Tensor {
  const after = Array.from({ length: spoken }, (_, i) => prompt.next + i);
  const values = Float32Array.from([...prompt.positions, ...after]);
  return expand(graph.constant(values, [1, values.length]), [rows, values.length]);
}

/** Mean of x [B, T, C] over the positions where mask f32 [B, T] is 1; zero where there is none. */
function maskedMean(x: Tensor, mask: Tensor): Tensor {
  const [b, t] = mask.shape as [number, number];
  const total = reshape(matmul(reshape(mask, [b, 1, t]), x), [b, lastDim(x)]);
  const ones = x.graph.constant(new Float32Array(t).fill(1), [t, 1]);
  return div(total, add(matmul(mask, ones), 1e-6));
}

/** The reasoning's embedding: prompt part and generated part, each pooled and through an MLP (DiVLA). */
function inject(p: Params, config: DivlaConfig, prompt: Tensor, generated: Tensor): Tensor {
  const width = config.decoder.reasoning;
  return add(
    mlp(p.scope('inject.prompt'), prompt, width, width),
    mlp(p.scope('inject.generated'), generated, width, width),
  );
}

/**
 * The language model over a prompt and a known reasoning (teacher forcing).
 * @param tokens i64 [B, R]: begin, then the reasoning's tokens, padded
 * @param spoken f32 [B, R]: 1 for the reasoning's own tokens (neither begin nor padding)
 * @returns logits [B, R, vocabulary] of each next token, and the embedding to inject [B, D]
 */
export function teacherForced(
  p: Params,
  config: DivlaConfig,
  table: Tensor,
  prompt: Prompt,
  tokens: Tensor,
  spoken: Tensor,
): { logits: Tensor; embedding: Tensor } {
  const [b, r] = tokens.shape as [number, number];
  const count = prompt.embedded.shape[1] as number;
  const graph = tokens.graph;
  const x = concat([prompt.embedded, embedding(table, tokens)], 1);
  const ones = graph.constant(new Float32Array(r).fill(1), [1, r]);
  const keys = concat([prompt.mask, expand(ones, [b, r])], 1);
  const mask = add(causalBias(graph, count + r, count + r), keyMask(keys));
  const { hidden } = decode(p.scope('language'), config, x, positionsOf(graph, b, prompt, r), mask);
  const said = slice(hidden, 1, count, count + r);
  return {
    logits: linear(said, table),
    embedding: inject(
      p,
      config,
      maskedMean(slice(hidden, 1, 0, count), prompt.mask),
      maskedMean(said, spoken),
    ),
  };
}

/** The language model over a prompt alone: hidden states [B, P, hidden] and what later tokens read of it. */
export function prefill(
  p: Params,
  config: DivlaConfig,
  prompt: Prompt,
): { hidden: Tensor; caches: LayerCache[] } {
  const [b, count] = prompt.embedded.shape as [number, number, number];
  const { graph } = prompt.embedded;
  return decode(
    p.scope('language'),
    config,
    prompt.embedded,
    positionsOf(graph, b, prompt, 0),
    add(causalBias(graph, count, count), keyMask(prompt.mask)),
  );
}

/**
 * Greedy reasoning: the prompt once, then one token a step inside the graph over a growing cache.
 * @returns tokens i64 [B, up to R] (`end` and what follows are padding) and the embedding to inject [B, D]
 */
export function reason(
  p: Params,
  config: DivlaConfig,
  table: Tensor,
  prompt: Prompt,
  special: ReasoningTokens,
): { tokens: Tensor; embedding: Tensor } {
  const first = prefill(p, config, prompt);
  const spoken = generate(p.scope('language'), config, table, prompt, first.caches, special);
  return {
    tokens: spoken.tokens,
    embedding: inject(
      p,
      config,
      maskedMean(first.hidden, prompt.mask),
      div(spoken.total, add(spoken.count, 1e-6)),
    ),
  };
}

/** The decode loop: carried are the last token, whether a row still speaks, sums and the caches. */
function generate(
  p: Params,
  config: DivlaConfig,
  table: Tensor,
  prompt: Prompt,
  caches: readonly LayerCache[],
  special: ReasoningTokens,
): { tokens: Tensor; total: Tensor; count: Tensor } {
  const graph = prompt.embedded.graph;
  const [b, , hidden] = prompt.embedded.shape as [number, number, number];
  const steps = config.language.reasoningTokens;
  const promptBias = keyMask(prompt.mask);
  const output = transpose(table, [1, 0]);
  const logits = p.scope('embed').product ?? ((h: Tensor): Tensor => matmul(h, output));
  const begin = filled(graph, special.begin, [b, 1], 'int64');
  const zero = filled(graph, 0, [b, hidden]);
  // Keys of generated tokens are always seen: their part of the mask is a growing row of zeros.
  const none = filled(graph, 0, [b, 1, 1, 1, 0]);
  const flat = caches.flatMap((cache) => [cache.k, cache.v]);
  const result = loop(graph, {
    trips: steps,
    carried: [
      begin,
      filled(graph, 0, [b, 1]),
      filled(graph, 1, [b, 1]),
      zero,
      filled(graph, 0, [b, 1]),
      none,
      ...flat,
    ],
    grows: Object.fromEntries([
      [5, 4],
      ...flat.map((_, i) => [6 + i, i % 2 === 0 ? 3 : 2]),
    ]) as Record<number, number>,
    body: (body, i, carried) => {
      const [token, own, speaking, total, said, seen, ...past] = carried as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        ...Tensor[],
      ];
      const position = add(cast(i, 'float32'), prompt.next);
      const next = concat([seen, filled(body, 0, [b, 1, 1, 1, 1])], 4);
      const step = decode(
        p,
        config,
        embedding(table, token),
        expand(reshape(position, [1, 1]), [b, 1]),
        concat([promptBias, next], 4),
        pairs(past),
      );
      const h = reshape(step.hidden, [b, hidden]);
      const chosen = reshape(argmax(logits(h), -1), [b, 1]);
      // The begin token is not spoken; every token after it counts until the end token.
      const goesOn = mul(speaking, cast(not(equal(chosen, endToken(body, special))), 'float32'));
      const emitted = where(
        greater(goesOn, 0.5),
        chosen,
        filled(body, special.pad, [b, 1], 'int64'),
      );
      return {
        carried: [
          emitted,
          goesOn,
          goesOn,
          add(total, mul(h, own)),
          add(said, own),
          next,
          ...step.caches.flatMap((cache) => [cache.k, cache.v]),
        ],
        scan: [emitted],
        stop: less(reduceMax(goesOn), 0.5),
      };
    },
  });
  const [, , , total, said] = result.carried as [Tensor, Tensor, Tensor, Tensor, Tensor];
  const scanned = result.scan[0] as Tensor;
  return {
    tokens: transpose(reshape(scanned, [-1, b]), [1, 0]),
    total,
    count: said,
  };
}

function endToken(graph: Graph, special: ReasoningTokens): Tensor {
  return graph.constant([special.end], [1, 1], 'int64');
}

function pairs(flat: readonly Tensor[]): LayerCache[] {
  return Array.from({ length: flat.length / 2 }, (_, i) => ({
    k: flat[2 * i] as Tensor,
    v: flat[2 * i + 1] as Tensor,
  }));
}
