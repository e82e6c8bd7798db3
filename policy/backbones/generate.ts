import type { Params } from '../nn/params.ts';
import {
  add,
  argmax,
  concat,
  expand,
  filled,
  loop,
  reshape,
  slice,
  transpose,
  type Tensor,
} from '../tensor/index.ts';
import type { DecodeInput, LanguageModel, LayerCache } from './family.ts';

export interface Greedy {
  /** The prompt; its mask is f32 [B, 1, T, T], of which the last row hides padding from new tokens. */
  readonly prompt: Omit<DecodeInput, 'past'>;
  /** i64 [B], the position of each row's first generated token on every axis. */
  readonly start: Tensor;
  /** Tokens to generate, at least 1. */
  readonly tokens: number;
}

/**
 * Greedy continuation inside the graph: the prompt once, then one token a trip over growing caches.
 * Prompts end at the last position, so that shorter ones are padded on the left.
 * @returns ids i64 [B, tokens], their logits [B, tokens, vocabulary], and the hidden states that the
 * prompt left [B, T, hidden] and that chose each token [B, tokens, hidden]
 */
export function greedy(
  model: LanguageModel,
  p: Params,
  options: Greedy,
): { ids: Tensor; logits: Tensor; prompted: Tensor; states: Tensor } {
  const { prompt, start, tokens } = options;
  const graph = prompt.x.graph;
  const [batch, length] = prompt.x.shape as [number, number, number];
  const first = model.decode(p, prompt);
  const prompted = first.hidden;
  const last = slice(prompted, 1, length - 1, length);
  const scored = model.logits(p, last);
  const chosen = argmax(scored, -1);
  if (tokens === 1) return { ids: chosen, logits: scored, prompted, states: last };
  const promptMask = slice(prompt.mask, 2, length - 1, length);
  const caches = first.caches.flatMap(({ k, v }) => [k, v]);
  const axes = model.shape.positionAxes;
  const { scan } = loop(graph, {
    trips: tokens - 1,
    // Generated tokens are always seen: their part of the mask is a growing row of zeros.
    carried: [chosen, filled(graph, 0, [batch, 1, 1, 0]), ...caches],
    grows: Object.fromEntries([[1, 3], ...caches.map((_, i) => [2 + i, 2])]) as Record<
      number,
      number
    >,
    body: (body, trip, carried) => {
      const [token, seen, ...past] = carried as [Tensor, Tensor, ...Tensor[]];
      const own = concat([seen, filled(body, 0, [batch, 1, 1, 1])], 3);
      const position = reshape(add(start, trip), [1, batch, 1]);
      const step = model.decode(p, {
        x: model.embed(p, token),
        positions: expand(position, [axes, batch, 1]),
        mask: concat([promptMask, own], 3),
        past: pairs(past),
        ...(prompt.project && { project: prompt.project }),
        halfAttention: prompt.halfAttention === true,
      });
      const logits = model.logits(p, step.hidden);
      const next = argmax(logits, -1);
      const grown = step.caches.flatMap(({ k, v }) => [k, v]);
      return { carried: [next, own, ...grown], scan: [next, logits, step.hidden] };
    },
  });
  const [ids, logits, states] = scan as [Tensor, Tensor, Tensor];
  const byRow = (trips: Tensor): Tensor =>
    reshape(transpose(trips, [1, 0, 2, 3]), [batch, tokens - 1, -1]);
  return {
    ids: concat([chosen, reshape(transpose(ids, [1, 0, 2]), [batch, tokens - 1])], 1),
    logits: concat([scored, byRow(logits)], 1),
    prompted,
    states: concat([last, byRow(states)], 1),
  };
}

function pairs(flat: readonly Tensor[]): LayerCache[] {
  return Array.from({ length: flat.length / 2 }, (_, i) => {
    const [k, v] = [flat[2 * i], flat[2 * i + 1]];
    if (k === undefined || v === undefined) throw new RangeError('a cache lacks its values');
    return { k, v };
  });
}
