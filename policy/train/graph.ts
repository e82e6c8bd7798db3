import {
  Graph,
  add,
  concat,
  crossEntropy,
  cast,
  div,
  equal,
  expand,
  filled,
  gradients,
  loop,
  maximum,
  mul,
  not,
  reduceSum,
  reshape,
  slice,
  sub,
  type Tensor,
} from '../tensor/index.ts';
import type { Bank } from '../nn/bank.ts';
import { flatten, type FlatLayout } from '../nn/flat.ts';
import { elements, paramsOf, type Params } from '../nn/params.ts';
import { adaptTrunk, type TrunkLora } from '../lora/trunk.ts';
import { summaryWidth, viewSlots, type DivlaConfig, type Signature } from '../divla/config.ts';
import { combineFilm, conditionFilm, reasoningFilm } from '../divla/film.ts';
import { bodyInputs, viewCount, viewInputs, type RowInputs } from '../divla/graphs/inputs.ts';
import { condition } from '../divla/head.ts';
import { tokenTable } from '../divla/instruction.ts';
import {
  addNoise,
  filmOfSteps,
  predict,
  predictionTarget,
  presentViews,
  promptOf,
  see,
} from '../divla/model.ts';
import { teacherForced } from '../divla/reasoning.ts';
import { withPrefix } from '../rtc/index.ts';
import type { AdamWOptions } from '../engine/index.ts';
import { BatchInputs } from './passes.ts';

export interface TrainGraphOptions {
  readonly config: DivlaConfig;
  readonly signature: Signature;
  /** Pictures of a batch and instructions (rows) of each picture. */
  readonly pictures: number;
  readonly instructions: number;
  /** Noise draws of each row. */
  readonly draws: number;
  /** Whether chunks begin with actions that are given (`given` in the batch), as `withPrefix` sets them. */
  readonly prefixed: boolean;
  /** Rows of each slot that also pass the language model: of each pass's share of them the first. */
  readonly spoken: number;
  /** Slots of the bank; rows lie in order of slots, equally many each. */
  readonly slots: number;
  /**
   * Equal shares in which the batch is taken, one after the other, before the weights move: memory is that of
   * one share, and what it comes to is the gradient of the whole batch.
   */
  readonly passes: number;
  /** `images`: the trunk sees pictures; `features`: its outputs come in, computed once before. */
  readonly from: 'images' | 'features';
  readonly trainable: FlatLayout;
  /** Low-rank pairs beside the trunk's layers; none without it. */
  readonly lora?: TrunkLora;
  readonly reasoningWeight: number;
  /** Weight of finding the named object (pre-training only; 0 leaves the term out). */
  readonly groundingWeight: number;
  readonly optimiser: AdamWOptions;
}

/** Rows of a batch. */
export function rowsOf(options: TrainGraphOptions): number {
  return options.pictures * options.instructions;
}

/**
 * The gradient of one batch as a graph: forward and backward; the engine's `descend` takes the step.
 *
 * Parameters, those that move and those that are frozen, are inputs named by their path.
 * Batch: views and tokens (or summary f32 [R, V, S] and reasoning f32 [R, D]), body, clean f32
 * [R, H, A], keep f32 [R, H, A], noise f32 [R·D, H, A], levels f32 [R·D, 3] (t, √ā, √(1−ā)), where
 * `prefixed` given f32 [R·D, H] (1 for actions that are clean and not scored); for the
 * L = slots·spoken spoken rows said i64 [L, R], said_mask f32 [L, R], labels i64 [L, R].
 * Outputs: loss, action_loss, reasoning_loss, grounding_loss, gradient.PATH of each parameter that moves and is used.
 * @throws RangeError where the batch does not divide into its passes.
 */
export function trainGraph(options: TrainGraphOptions): Graph {
  const { trainable, passes, slots } = options;
  if (options.pictures % (slots * passes) !== 0 || options.spoken % passes !== 0) {
    const rows = `${options.pictures} pictures of ${slots} slots, ${options.spoken} spoken rows each`;
    throw new RangeError(`${rows}, do not divide into ${passes} passes`);
  }
  const graph = new Graph('train');
  const moving = new Map<string, Tensor>();
  const params = paramsOf(
    (spec) => {
      const tensor = graph.input(spec.name, 'float32', spec.shape);
      if (trainable.offsets.has(spec.name)) moving.set(spec.name, tensor);
      return tensor;
    },
    // Embodiments that train together share what moves of the trunk.
    options.lora && adaptTrunk(options.lora, { kind: 'grouped', slots: 1 }),
  );
  const batch = new BatchInputs(graph, { slots, passes });
  const counts = countsOf(graph, batch, options);
  const pass = (within: Graph, index?: Tensor): Pass => {
    const loss = losses(within, batch.share(index), params, options, counts);
    const found = gradients(loss.total, [...moving.values()]);
    const gradient = new Map([...moving.keys()].map((name, i) => [name, found[i] as Tensor]));
    return { loss, gradient };
  };
  const { loss, gradient } = passes === 1 ? pass(graph) : summed(graph, options, moving, pass);
  graph.output('loss', loss.total);
  graph.output('action_loss', loss.action);
  graph.output('reasoning_loss', loss.reasoning);
  graph.output('grounding_loss', loss.grounding);
  for (const [name, slope] of gradient) graph.output(`gradient.${name}`, slope);
  return graph;
}

/** What a share of the batch adds to the losses and to their gradient, by parameter. */
interface Pass {
  readonly loss: Losses;
  readonly gradient: ReadonlyMap<string, Tensor>;
}

/** All passes, one after the other. */
function summed(
  graph: Graph,
  { passes, trainable }: TrainGraphOptions,
  moving: ReadonlyMap<string, Tensor>,
  pass: (within: Graph, index: Tensor) => Pass,
): Pass {
  const none = graph.constant(0);
  // One vector, of whose parts the runtime makes the last first: see `flatten`.
  const { carried } = loop(graph, {
    trips: passes,
    carried: [none, none, none, none, filled(graph, 0, [trainable.size])],
    body(within, index, before) {
      const { loss, gradient } = pass(within, index);
      const slopes = trainable.specs.map(
        ({ name, shape }) => gradient.get(name) ?? filled(within, 0, shape),
      );
      const whole = flatten(trainable, slopes);
      const now = [loss.total, loss.action, loss.reasoning, loss.grounding, whole];
      return { carried: now.map((value, i) => add(before[i] as Tensor, value)) };
    },
  });
  const [total, action, reasoning, grounding, whole] = carried as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const gradient = new Map(
    [...moving].map(([name, { shape }]) => {
      const at = trainable.offsets.get(name) ?? NaN;
      return [name, reshape(slice(whole, 0, at, at + elements(shape)), shape)];
    }),
  );
  return { loss: { total, action, reasoning, grounding }, gradient };
}

/** What the sums of a loss are divided by: how much of the whole batch counts, or 1. */
interface Counts {
  readonly action: Tensor;
  readonly reasoning: Tensor;
  readonly grounding: Tensor;
}

function countsOf(graph: Graph, batch: BatchInputs, options: TrainGraphOptions): Counts {
  const { config, signature, draws, prefixed, slots, spoken } = options;
  const rows = rowsOf(options);
  const [horizon, views] = [signature.horizon, viewCount(signature)];
  const drawn = repeat(batch.whole('keep', 'float32', [rows, horizon, config.head.dims]), draws);
  const scored = prefixed
    ? mul(drawn, unlessGiven(batch.whole('given', 'float32', [rows * draws, horizon])))
    : drawn;
  const none = graph.constant(1);
  const hears = options.from === 'images' && spoken > 0;
  const looks = options.from === 'images' && options.groundingWeight !== 0;
  const said = (): Tensor => {
    const shape = [slots * spoken, config.language.reasoningTokens];
    return cast(not(equal(batch.whole('labels', 'int64', shape), IGNORED)), 'float32');
  };
  const inView = (): Tensor =>
    mul(
      batch.whole('visible', 'float32', [rows, views]),
      batch.whole('present', 'float32', [rows, views]),
    );
  return {
    action: maximum(reduceSum(scored), 1),
    reasoning: hears ? maximum(reduceSum(said()), 1) : none,
    grounding: looks ? maximum(reduceSum(inView()), 1) : none,
  };
}

/** Label of a token that is not scored. */
const IGNORED = -100;

/** f32 [R·D, H] → [R·D, H, 1]: what is given is not predicted, so neither the loss nor its mean sees it. */
function unlessGiven(given: Tensor): Tensor {
  return reshape(sub(1, given), [...given.shape, 1]);
}

interface Losses {
  readonly total: Tensor;
  readonly action: Tensor;
  readonly reasoning: Tensor;
  readonly grounding: Tensor;
}

function losses(
  graph: Graph,
  inputs: RowInputs,
  params: Params,
  whole: TrainGraphOptions,
  counts: Counts,
): Losses {
  const { passes } = whole;
  const options = {
    ...whole,
    pictures: whole.pictures / passes,
    spoken: whole.spoken / passes,
  };
  const { config, signature } = options;
  const given =
    options.from === 'images'
      ? sees(graph, inputs, params, options, counts)
      : cached(graph, inputs, options);
  const bank: Bank = { kind: 'grouped', slots: options.slots };
  const body = bodyInputs(inputs, config, rowsOf(options));
  const slots = viewSlots(config, signature);
  const felt = condition(params.scope('head'), config, bank, body, given.summary, slots);
  const acted = { bank, felt, reasoning: given.reasoning, count: counts.action };
  const action = actionLoss(inputs, params, options, acted);
  const weighted = [
    action,
    mul(given.reasoningLoss, options.reasoningWeight),
    mul(given.groundingLoss, options.groundingWeight),
  ];
  return {
    total: weighted.reduce(add),
    action,
    reasoning: given.reasoningLoss,
    grounding: given.groundingLoss,
  };
}

interface Given {
  readonly summary: Tensor;
  readonly reasoning: Tensor;
  readonly reasoningLoss: Tensor;
  readonly groundingLoss: Tensor;
}

function cached(graph: Graph, inputs: RowInputs, options: TrainGraphOptions): Given {
  const { config, signature } = options;
  const rows = rowsOf(options);
  const none = graph.constant(0);
  return {
    summary: inputs.input('summary', 'float32', [rows, viewCount(signature), summaryWidth(config)]),
    reasoning: inputs.input('reasoning', 'float32', [rows, config.decoder.reasoning]),
    reasoningLoss: none,
    groundingLoss: none,
  };
}

function sees(
  graph: Graph,
  inputs: RowInputs,
  params: Params,
  options: TrainGraphOptions,
  counts: Counts,
): Given {
  const { config, signature, pictures, spoken } = options;
  const rows = rowsOf(options);
  const views = viewInputs(inputs, config, signature, rows, pictures);
  const shares = sharesOf(options);
  const seen = see(params, config, signature, views.images, views.tokens, views.tokenMask, shares);
  const summary = presentViews(seen.summary, views.present);
  const groundingLoss =
    options.groundingWeight === 0
      ? graph.constant(0)
      : grounding(inputs, seen.points, views.present, options, counts.grounding);
  const width = config.decoder.reasoning;
  if (spoken === 0) {
    return {
      summary,
      reasoning: filled(graph, 0, [rows, width]),
      reasoningLoss: graph.constant(0),
      groundingLoss,
    };
  }
  const length = config.language.reasoningTokens;
  const count = options.slots * spoken;
  const said = inputs.input('said', 'int64', [count, length]);
  const saidMask = inputs.input('said_mask', 'float32', [count, length]);
  const labels = inputs.input('labels', 'int64', [count, length]);
  const chosen = (x: Tensor): Tensor => firstOfSlots(x, options.slots, rows, spoken);
  const prompt = promptOf(
    params,
    config,
    signature,
    { grids: firstGrids(seen.grids, options), summary: chosen(seen.summary) },
    chosen(views.present),
    chosen(views.tokens),
    chosen(views.tokenMask),
  );
  const trunk = params.scope('trunk');
  const heard = teacherForced(trunk, config, tokenTable(trunk, config), prompt, said, saidMask);
  // Rows that the language model does not read train the decoder to act without reasoning.
  const each = rows / options.slots;
  const voiced = reshape(heard.embedding, [options.slots, spoken, width]);
  const silent = filled(graph, 0, [options.slots, each - spoken, width]);
  const reasoning = each === spoken ? voiced : concat([voiced, silent], 1);
  return {
    summary,
    reasoning: reshape(reasoning, [rows, width]),
    reasoningLoss: div(
      crossEntropy(heard.logits, labels, { reduction: 'sum', ignoreIndex: IGNORED }),
      counts.reasoning,
    ),
    groundingLoss,
  };
}

/** Cells of a stem's grid that pass it at once: what lies between two of its layers is then some megabytes. */
const CELLS = 8192;

/** Equal shares of every slot's pictures that pass the stem one after the other; the first has the spoken rows. */
function sharesOf(options: TrainGraphOptions): number {
  const { signature, pictures, instructions, slots, spoken } = options;
  const each = pictures / slots;
  const cells = (viewCount(signature) * instructions * signature.height * signature.width) / 16;
  const possible = Array.from({ length: each }, (_, i) => i + 1).filter(
    (shares) => each % shares === 0 && (each / shares) * instructions >= spoken,
  );
  const enough = possible.find((shares) => (each / shares) * cells <= CELLS);
  return slots * (enough ?? possible.at(-1) ?? 1);
}

/** The grids of the spoken rows, of every slot. */
function firstGrids(
  grids: readonly Tensor[],
  { slots, spoken, signature }: TrainGraphOptions,
): Tensor[] {
  const first = grids.filter((_, i) => i % (grids.length / slots) === 0);
  return first.map((grid) => slice(grid, 0, 0, spoken * viewCount(signature)));
}

/** The first `count` rows of every slot; x [R·k, …] may hold k entries a row. */
function firstOfSlots(x: Tensor, slots: number, rows: number, count: number): Tensor {
  const [entries = 0, ...rest] = x.shape;
  const each = entries / rows;
  const bySlot = reshape(x, [slots, entries / slots, ...rest]);
  return reshape(slice(bySlot, 1, 0, count * each), [slots * count * each, ...rest]);
}

/** Squared distance of the first point of each view to the named object, where it is in view, over `count`. */
function grounding(
  inputs: RowInputs,
  points: Tensor,
  present: Tensor,
  options: TrainGraphOptions,
  count: Tensor,
): Tensor {
  const rows = rowsOf(options);
  const views = viewCount(options.signature);
  const target = inputs.input('target', 'float32', [rows, views, 2]);
  const visible = inputs.input('visible', 'float32', [rows, views]);
  const found = reshape(slice(points, 2, 0, 1), [rows, views, 2]);
  const error = sub(found, target);
  const squared = mul(mul(error, error), reshape(mul(visible, present), [rows, views, 1]));
  return div(reduceSum(squared), count);
}

/** Squared error of the prediction, weighed by `keep` (0 where masked), over `count`. */
function actionLoss(
  inputs: RowInputs,
  params: Params,
  options: TrainGraphOptions,
  acted: { bank: Bank; felt: Tensor; reasoning: Tensor; count: Tensor },
): Tensor {
  const { config, signature, draws } = options;
  const rows = rowsOf(options);
  const dims = config.head.dims;
  const horizon = signature.horizon;
  const clean = inputs.input('clean', 'float32', [rows, horizon, dims]);
  const keep = inputs.input('keep', 'float32', [rows, horizon, dims]);
  const noise = inputs.input('noise', 'float32', [rows * draws, horizon, dims]);
  const levels = inputs.input('levels', 'float32', [rows * draws, 3]);
  const level = (i: number): Tensor => reshape(slice(levels, 1, i, i + 1), [rows * draws, 1, 1]);
  const drawn = (x: Tensor): Tensor => repeat(x, draws);
  const [root, rest] = [level(1), level(2)];
  const pure = drawn(clean);
  const mixed = addNoise(pure, noise, root, rest);
  const mask = options.prefixed
    ? inputs.input('given', 'float32', [rows * draws, horizon])
    : undefined;
  const noisy = mask === undefined ? mixed : withPrefix(mixed, { previous: pure, mask });
  const t = reshape(slice(levels, 1, 0, 1), [rows * draws]);
  const decoder = params.scope('trunk').scope('decoder');
  const base = add(
    drawn(conditionFilm(decoder, config, acted.felt)),
    filmOfSteps(params, config, t),
  );
  const voice = drawn(reasoningFilm(decoder, config, acted.reasoning));
  const film = combineFilm(config, base, voice);
  const predicted = predict(params, config, acted.bank, noisy, film);
  const error = sub(predicted, predictionTarget(config, pure, noise, root, rest));
  const valid = drawn(keep);
  const kept = mask === undefined ? valid : mul(valid, unlessGiven(mask));
  return div(reduceSum(mul(mul(error, error), kept)), acted.count);
}

/** Each row n times in a row: [R, …] → [R·n, …]. */
function repeat(x: Tensor, n: number): Tensor {
  if (n === 1) return x;
  const [rows = 1, ...rest] = x.shape;
  const wide = expand(reshape(x, [rows, 1, ...rest]), [rows, n, ...rest]);
  return reshape(wide, [rows * n, ...rest]);
}
