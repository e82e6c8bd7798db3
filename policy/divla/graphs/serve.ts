import {
  Graph,
  gather,
  loop,
  mul,
  reshape,
  slice,
  toOnnx,
  type Tensor,
} from '../../tensor/index.ts';
import { ddimStep, type CleanChange, type DdimLevels } from '../../decoders/ddim.ts';
import { adaptTrunk, type TrunkLora } from '../../lora/trunk.ts';
import type { Bank } from '../../nn/bank.ts';
import { collectParams, paramsOf, type Params, type ParamSpec } from '../../nn/params.ts';
import { towardsPrevious, withPrefix, type Correction } from '../../rtc/index.ts';
import { viewSlots, type DivlaConfig, type Signature } from '../config.ts';
import { SAMPLER_COLUMNS } from '../diffusion.ts';
import { conditionFilm, modulationAt, reasoningFilm, steadyFilm } from '../film.ts';
import { quantisedProducts, type QuantisedLayers } from '../frozen.ts';
import { condition } from '../head.ts';
import { tokenTable } from '../instruction.ts';
import { filmOfSteps, predict, presentViews, promptOf, see, type Seen } from '../model.ts';
import { reason, type ReasoningTokens } from '../reasoning.ts';
import { bodyInputs, viewInputs, type ViewInputs } from './inputs.ts';

/** Rows of a sampler's table: the most denoising steps a request may ask for. */
export const MAX_STEPS = 20;

export type ServeGraph = 'act' | 'reason' | 'reason_and_act';

export interface ServeOptions {
  readonly config: DivlaConfig;
  readonly signature: Signature;
  readonly rows: number;
  /** Slots of the bank of heads. */
  readonly slots: number;
  readonly special: ReasoningTokens;
  /**
   * Values of the trunk's weights, which then are constants of the graph; inputs without them. The
   * runtime packs constant weights for its products once, instead of in every run.
   */
  readonly trunk?: ReadonlyMap<string, Float32Array>;
  /** Layers that the graph holds in few bits, in place of the trunk's own. */
  readonly quantised?: QuantisedLayers;
  /** Low-rank pairs of the trunk's layers as banks (`lora.…`), gathered by `slot`; none without it. */
  readonly lora?: TrunkLora;
  /**
   * How `previous_weight` turns a chunk to the one before: `direct` unless told. `pulled-back` has a
   * backward pass through the decoder in every denoising step.
   */
  readonly correction?: Correction;
}

/**
 * A serving graph with its weights as inputs, named by their paths (`trunk.…` shared by all rows,
 * `head.…` a bank gathered by `slot`), or those of the trunk as constants.
 *
 * `act`: views, tokens, body, noise f32 [B, H, A] already scaled, kept f32 [B, A] (1 for the row's own dimensions), table f32 [20, 5], steps i64 [], previous f32 [B, H, A]
 * with previous_weight f32 [B, H] (the chunk to go on from; 0 leaves an action as sampled, 1 turns it to the
 * previous one) and previous_given f32 [B, H] (1 sets the action in the sample itself, before every step),
 * reasoning f32 [B, R], slot i64 [B] → actions f32 [B, H, A] in normalised units.
 * `reason`: views, tokens (with pairs also slot) → reasoning_tokens i64 [B, R], reasoning f32 [B, D].
 * `reason_and_act`: both, the views encoded once and the new reasoning driving the actions.
 */
export function serveGraph(kind: ServeGraph, options: ServeOptions): Graph {
  const { config, signature, rows, slots, special } = options;
  const graph = new Graph(kind, undefined, { inference: true });
  const needsSlot = kind !== 'reason' || options.lora !== undefined;
  const bank: Bank | undefined = needsSlot
    ? { kind: 'gathered', slots, slot: graph.input('slot', 'int64', [rows]) }
    : undefined;
  const params = paramsOf(
    ({ name, shape }) => {
      const data = options.trunk?.get(name);
      return data === undefined ? graph.input(name, 'float32', shape) : graph.constant(data, shape);
    },
    options.lora && bank && adaptTrunk(options.lora, bank),
    options.quantised && quantisedProducts(graph, options.quantised),
  );
  const views = viewInputs(graph, config, signature, rows);
  const seen = see(params, config, signature, views.images, views.tokens, views.tokenMask);
  const spoken =
    kind === 'act' ? undefined : speak(params, config, signature, seen, views, special);
  if (spoken !== undefined) {
    graph.output('reasoning_tokens', spoken.tokens);
    graph.output('reasoning', spoken.embedding);
  }
  if (kind !== 'reason' && bank !== undefined) {
    const reasoning =
      spoken?.embedding ?? graph.input('reasoning', 'float32', [rows, config.decoder.reasoning]);
    const body = bodyInputs(graph, config, rows);
    const summary = presentViews(seen.summary, views.present);
    const given = condition(
      params.scope('head'),
      config,
      bank,
      body,
      summary,
      viewSlots(config, signature),
    );
    const correction = options.correction ?? 'direct';
    graph.output(
      'actions',
      sample(graph, params, config, signature, bank, given, reasoning, correction),
    );
  }
  return graph;
}

function speak(
  params: Params,
  config: DivlaConfig,
  signature: Signature,
  seen: Seen,
  views: ViewInputs,
  special: ReasoningTokens,
): { tokens: Tensor; embedding: Tensor } {
  const prompt = promptOf(
    params,
    config,
    signature,
    seen,
    views.present,
    views.tokens,
    views.tokenMask,
  );
  const trunk = params.scope('trunk');
  return reason(trunk, config, tokenTable(trunk, config), prompt, special);
}

function sample(
  graph: Graph,
  params: Params,
  config: DivlaConfig,
  signature: Signature,
  bank: Bank,
  felt: Tensor,
  reasoning: Tensor,
  mode: Correction,
): Tensor {
  const rows = felt.shape[0] ?? 1;
  const noise = graph.input('noise', 'float32', [rows, signature.horizon, config.head.dims]);
  const table = graph.input('table', 'float32', [MAX_STEPS, SAMPLER_COLUMNS]);
  const steps = graph.input('steps', 'int64', []);
  // Padded dimensions stay zero, as they were in training.
  const kept = reshape(graph.input('kept', 'float32', [rows, config.head.dims]), [
    rows,
    1,
    config.head.dims,
  ]);
  const { dims } = config.head;
  const previous = graph.input('previous', 'float32', [rows, signature.horizon, dims]);
  const held = graph.input('previous_weight', 'float32', [rows, signature.horizon]);
  const towards = towardsPrevious({ previous, weights: held, mode });
  // What the network says of padded dimensions is nobody's: its error may not reach the others.
  const guide: CleanChange =
    mode === 'direct'
      ? towards
      : (clean, x, root, found) => towards(mul(clean, kept), x, root, mul(found, kept));
  const mask = graph.input('previous_given', 'float32', [rows, signature.horizon]);
  const given = { previous, mask };
  const decoder = params.scope('trunk').scope('decoder');
  // What does not change from step to step is computed once, before the loop.
  const steady = steadyFilm(
    config,
    conditionFilm(decoder, config, felt),
    reasoningFilm(decoder, config, reasoning),
  );
  const byStep = filmOfSteps(params, config, reshape(slice(table, 1, 0, 1), [MAX_STEPS]));
  const sampled = loop(graph, {
    trips: steps,
    carried: [withPrefix(noise, given)],
    body: (_, i, [x]) => {
      if (x === undefined) throw new RangeError('the sampler carries the actions');
      const at = reshape(i, [1]);
      const modulation = modulationAt(config, steady, gather(byStep, at, 0));
      const predicted = predict(params, config, bank, x, modulation);
      const row = reshape(gather(table, at, 0), [SAMPLER_COLUMNS]);
      const next = ddimStep(x, predicted, levelsOf(row), config.diffusion, guide);
      return { carried: [withPrefix(mul(next, kept), given)] };
    },
  });
  const actions = sampled.carried[0];
  if (actions === undefined) throw new RangeError('the sampler gave no actions');
  return actions;
}

/** @param row f32 [5], a row of the sampler's table */
function levelsOf(row: Tensor): DdimLevels {
  const column = (i: number): Tensor => slice(row, 0, i, i + 1);
  return { root: column(1), rest: column(2), rootBefore: column(3), restBefore: column(4) };
}

/** The parameters of a configuration: those of the trunk, and those of one head (without slots). */
export function modelParams(config: DivlaConfig): { trunk: ParamSpec[]; head: ParamSpec[] } {
  const signature = { ...config.maxViews, width: 64, height: 64, horizon: 16 };
  const specs = collectParams((params, graph) => {
    const views = viewInputs(graph, config, signature, 1);
    const seen = see(params, config, signature, views.images, views.tokens, views.tokenMask);
    const spoken = speak(params, config, signature, seen, views, { begin: 0, end: 1, pad: 2 });
    const bank: Bank = { kind: 'grouped', slots: 1 };
    const body = bodyInputs(graph, config, 1);
    const slots = viewSlots(config, signature);
    const given = condition(params.scope('head'), config, bank, body, seen.summary, slots);
    sample(graph, params, config, signature, bank, given, spoken.embedding, 'direct');
  });
  return {
    trunk: specs.filter((spec) => spec.name.startsWith('trunk.')),
    head: specs
      .filter((spec) => spec.name.startsWith('head.'))
      .map((spec) => ({ ...spec, shape: spec.shape.slice(1) })),
  };
}

export function serveModel(kind: ServeGraph, options: ServeOptions): Uint8Array {
  return toOnnx(serveGraph(kind, options));
}
