import { Graph, toOnnx } from '../../tensor/index.ts';
import { inputParams } from '../../nn/params.ts';
import type { DivlaConfig, Signature } from '../config.ts';
import { quantisedProducts, type QuantisedLayers } from '../frozen.ts';
import { tokenTable } from '../instruction.ts';
import { presentViews, promptOf, see } from '../model.ts';
import { teacherForced } from '../reasoning.ts';
import { viewInputs } from './inputs.ts';

/**
 * What the frozen trunk makes of frames with known reasonings, to be computed once and kept:
 * views and tokens, said i64 [B, R], said_mask f32 [B, R] → summary f32 [B, V, S], reasoning f32
 * [B, D]. Weights are inputs by their paths, but for those of quantised layers, which the graph holds.
 */
export function featureGraph(
  config: DivlaConfig,
  signature: Signature,
  rows: number,
  quantised?: QuantisedLayers,
): Graph {
  const graph = new Graph('features');
  const params = inputParams(graph, quantised && quantisedProducts(graph, quantised));
  const views = viewInputs(graph, config, signature, rows);
  const seen = see(params, config, signature, views.images, views.tokens, views.tokenMask);
  graph.output('summary', presentViews(seen.summary, views.present));
  const prompt = promptOf(
    params,
    config,
    signature,
    seen,
    views.present,
    views.tokens,
    views.tokenMask,
  );
  const length = config.language.reasoningTokens;
  const said = graph.input('said', 'int64', [rows, length]);
  const mask = graph.input('said_mask', 'float32', [rows, length]);
  const trunk = params.scope('trunk');
  const heard = teacherForced(trunk, config, tokenTable(trunk, config), prompt, said, mask);
  graph.output('reasoning', heard.embedding);
  return graph;
}

export function featureModel(config: DivlaConfig, signature: Signature, rows: number): Uint8Array {
  return toOnnx(featureGraph(config, signature, rows));
}
