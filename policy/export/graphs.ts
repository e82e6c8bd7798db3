import {
  greedy,
  placeVisual,
  promptMask,
  qwenVision,
  siglip,
  type LanguageModel,
  type QwenVisionShape,
  type SiglipShape,
} from '../backbones/index.ts';
import { Graph, causalBias, type Tensor } from '../tensor/index.ts';
import type { StoredWeights } from './stored-weights.ts';

/** Sizes that the graphs are built for. */
export interface ExportSignature {
  /** Rows of a batch, and the views of each. */
  readonly batch: number;
  readonly views: number;
  /** Visual tokens of a row, of all its views together; 0 for a language model without pictures. */
  readonly visualTokens: number;
  readonly textTokens: number;
  /** Tokens that are generated, at least 1. */
  readonly reasoningTokens: number;
}

/** Tokens of a row's prompt. */
export function promptTokens({ visualTokens, textTokens }: ExportSignature): number {
  return visualTokens + textTokens;
}

/**
 * A language model over a prompt with pictures, then its greedy continuation in the graph.
 *
 * Inputs: ids i64 [B, T], keep i64 [B, T] (1 for a token, 0 for padding on the left), positions
 * i64 [axes, B, T], start i64 [B] (position of the first generated token); with pictures visual
 * f32 [B·V, hidden] and places i64 [B, T] (a token's row of `visual`, -1 for text).
 * Outputs: hidden f32 [B, T, hidden] after the last norm, ids_out i64 [B, R], logits f32 [B, R, vocabulary]
 * and states f32 [B, R, hidden], those that chose each token.
 */
export function languageGraph(
  model: LanguageModel,
  store: StoredWeights,
  signature: ExportSignature,
): Graph {
  const { batch, visualTokens, reasoningTokens } = signature;
  const length = promptTokens(signature);
  const graph = new Graph('language');
  const { params, project } = store.reader(graph);
  const ids = graph.input('ids', 'int64', [batch, length]);
  const text = model.embed(params, ids);
  const said = greedy(model, params, {
    prompt: {
      x: visualTokens === 0 ? text : withPictures(graph, text, batch * visualTokens),
      mask: promptMask(graph.input('keep', 'int64', [batch, length])),
      positions: graph.input('positions', 'int64', [model.shape.positionAxes, batch, length]),
      project,
      halfAttention: store.options.rest === 'float16',
    },
    start: graph.input('start', 'int64', [batch]),
    tokens: reasoningTokens,
  });
  graph.output('hidden', said.prompted);
  graph.output('ids_out', said.ids);
  graph.output('logits', said.logits);
  graph.output('states', said.states);
  return graph;
}

function withPictures(graph: Graph, text: Tensor, rows: number): Tensor {
  const [batch = 0, length = 0, hidden = 0] = text.shape;
  const visual = graph.input('visual', 'float32', [rows, hidden]);
  return placeVisual(text, visual, graph.input('places', 'int64', [batch, length]));
}

/** A text read once, by which two formats of one model are compared: ids i64 [1, T] → logits f32 [1, T, vocabulary]. */
export function readingGraph(model: LanguageModel, store: StoredWeights, tokens: number): Graph {
  const graph = new Graph('reading');
  const { params, project } = store.reader(graph);
  const axes = model.shape.positionAxes;
  const counted = Array.from({ length: axes * tokens }, (_, i) => i % tokens);
  const { hidden } = model.decode(params, {
    x: model.embed(params, graph.input('ids', 'int64', [1, tokens])),
    positions: graph.constant(counted, [axes, 1, tokens], 'int64'),
    mask: causalBias(graph, tokens, tokens),
    project,
    halfAttention: store.options.rest === 'float16',
  });
  graph.output('logits', model.logits(params, hidden));
  return graph;
}

/** SigLIP: pixels f32 [B·views, channels, side, side], normalised → tokens f32 [B·views, patches, hidden]. */
export function siglipGraph(shape: SiglipShape, store: StoredWeights, images: number): Graph {
  const graph = new Graph('vision');
  const { params } = store.reader(graph);
  const size = [images, shape.channels, shape.image, shape.image];
  const seen = siglip(params.scope('vision_model'), shape, graph.input('pixels', 'float32', size));
  graph.output('tokens', seen.last);
  return graph;
}

/**
 * Qwen2-VL's own tower over pictures of one size: patches f32 [images·patches, channels·frames·patch²] →
 * tokens f32 [images·patches/merge², hidden].
 * @param side patches along each side of a picture, a multiple of `merge`
 */
export function qwenVisionGraph(
  shape: QwenVisionShape,
  store: StoredWeights,
  images: number,
  side: number,
): Graph {
  const graph = new Graph('vision');
  const { params } = store.reader(graph);
  const grids = Array.from({ length: images }, () => ({ time: 1, height: side, width: side }));
  const inner = shape.channels * shape.frames * shape.patch ** 2;
  const patches = graph.input('patches', 'float32', [images * side ** 2, inner]);
  graph.output('tokens', qwenVision(params.scope('visual'), shape, grids, patches).merged);
  return graph;
}
