import { plainProject, type Project } from '../backbones/index.ts';
import { bodyInputs } from '../divla/graphs/inputs.ts';
import {
  LORA_SCOPE,
  OWN_SCOPE,
  conditionOf,
  hear,
  inject,
  largeInputs,
  predictNoise,
  promptLength,
  promptOf,
  viewTokens,
  viewsOf,
  type LargeConfig,
  type LargePrompt,
  type LargeSignature,
} from '../divla/large/index.ts';
import { bankLora, type LoraConfig } from '../lora/index.ts';
import type { Bank } from '../nn/bank.ts';
import { flatLayout, flatten, slicedParams, type FlatLayout } from '../nn/flat.ts';
import { collectParams, inputParams, type Params } from '../nn/params.ts';
import {
  Graph,
  add,
  crossEntropy,
  div,
  gradients,
  maximum,
  mul,
  reduceSum,
  reshape,
  slice,
  stopGradient,
  sub,
  type Tensor,
} from '../tensor/index.ts';
import type { AdamWOptions } from '../engine/index.ts';
import { adamW, stepScalarInputs } from './optimiser.ts';

/** Fine-tuning of a DiVLA on published backbones: what is frozen is computed once, beforehand. */

export type LargeMode = 'head' | 'policy' | 'lora';

const POLICY = ['head', `${OWN_SCOPE}.condition`, `${OWN_SCOPE}.inject`, `${OWN_SCOPE}.decoder`];

/** The scopes whose parameters a mode moves. The encoder, the resampler and the language model never do. */
export const LARGE_MOVES: Readonly<Record<LargeMode, readonly string[]>> = {
  head: ['head'],
  policy: POLICY,
  lora: [...POLICY, LORA_SCOPE],
};

export interface LargeTrainOptions {
  readonly config: LargeConfig;
  readonly signature: LargeSignature;
  readonly mode: LargeMode;
  readonly rows: number;
  /** Of mode `lora`. */
  readonly lora: LoraConfig;
  /** Weight of the language loss beside the action loss (mode `lora`). */
  readonly reasoningWeight: number;
  readonly optimiser: AdamWOptions;
}

/**
 * What the frozen parts make of frames with known reasonings, to be computed once and kept.
 *
 * Inputs: images, tokens, token_mask, present as serving has them; said i64 [B, R] padded on the right and
 * said_mask f32 [B, R]. Outputs: visual f32 [B, visual tokens, hidden], which mode `lora` reads; pooled and
 * spoken f32 [B, hidden], which the other modes read. Weights are inputs by their paths.
 */
export function largeFeatureGraph(
  config: LargeConfig,
  signature: LargeSignature,
  rows: number,
): Graph {
  const graph = new Graph('features', undefined, { inference: true });
  const params = inputParams(graph);
  const { images, tokens, tokenMask, present } = largeInputs(graph, config, signature, rows);
  const visual = viewTokens(params, config, signature, images);
  const prompt = promptOf(params, config, signature, visual, present, tokens, tokenMask);
  const { said, saidMask } = saidInputs(graph, signature, rows);
  const heard = hear(params, config, plainProject, prompt, said, saidMask);
  graph.output('visual', visual);
  graph.output('pooled', heard.pooled);
  graph.output('spoken', heard.spoken);
  return graph;
}

/** The parameters that a mode moves, heads and adapters as banks of one slot. */
export function largeTrainable(options: LargeTrainOptions): FlatLayout {
  const specs = collectParams((params, graph) => {
    losses(graph, params, options);
  });
  const moves = LARGE_MOVES[options.mode];
  return flatLayout(
    specs.filter(({ name }) => moves.some((scope) => name.startsWith(`${scope}.`))),
  );
}

/**
 * One optimiser step as a graph: forward, backward, AdamW and the moving average.
 *
 * State: theta, m, v, ema f32 [P] in the order of `largeTrainable`; decay f32 [P] and the step's scalars.
 * Frozen parameters are inputs named by their path. Batch: body, clean, keep and noise f32 [R, H, A], levels
 * f32 [R, 3] (t, √ā, √(1−ā)), voiced f32 [R, 1] (0: trained without reasoning), and the features: pooled and
 * spoken, or in mode `lora` visual with present, tokens, token_mask, said, said_mask and labels i64 [R, L]
 * (each token of the reasoning and its end; -100 where there is none).
 * Outputs: loss, action_loss, reasoning_loss, gradient_norm and the next state.
 */
export function largeTrainGraph(options: LargeTrainOptions): Graph {
  const layout = largeTrainable(options);
  const graph = new Graph('train_large');
  const state = {
    theta: graph.input('theta', 'float32', [layout.size]),
    m: graph.input('m', 'float32', [layout.size]),
    v: graph.input('v', 'float32', [layout.size]),
    ema: graph.input('ema', 'float32', [layout.size]),
  };
  const decay = graph.input('decay', 'float32', [layout.size]);
  const scalars = stepScalarInputs(graph);
  const { params, tensors } = slicedParams(state.theta, layout, (spec) =>
    graph.input(spec.name, 'float32', spec.shape),
  );
  const { total, action, reasoning } = losses(graph, params, options);
  const wanted = layout.specs.map(({ name }) => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new RangeError(`the loss does not read ${name}`);
    return tensor;
  });
  const next = adamW(
    state,
    flatten(layout, gradients(total, wanted)),
    decay,
    scalars,
    options.optimiser,
  );
  graph.output('loss', total);
  graph.output('action_loss', action);
  graph.output('reasoning_loss', reasoning);
  graph.output('gradient_norm', next.norm);
  graph.output('next_theta', next.theta);
  graph.output('next_m', next.m);
  graph.output('next_v', next.v);
  graph.output('next_ema', next.ema);
  return graph;
}

interface Losses {
  readonly total: Tensor;
  readonly action: Tensor;
  readonly reasoning: Tensor;
}

interface Given {
  readonly pooled: Tensor;
  readonly spoken: Tensor;
  readonly loss: Tensor;
}

function losses(graph: Graph, params: Params, options: LargeTrainOptions): Losses {
  const { config, rows, mode, reasoningWeight } = options;
  const { hidden } = config.language.shape;
  const given: Given =
    mode === 'lora'
      ? adapted(graph, params, options)
      : {
          pooled: graph.input('pooled', 'float32', [rows, hidden]),
          spoken: graph.input('spoken', 'float32', [rows, hidden]),
          loss: graph.constant(0),
        };
  const action = actionLoss(graph, params, options, given);
  return {
    total: add(action, mul(given.loss, reasoningWeight)),
    action,
    reasoning: given.loss,
  };
}

/** The language model with an adapter beside its frozen layers, over cached visual tokens. */
function adapted(graph: Graph, params: Params, options: LargeTrainOptions): Given {
  const { config, signature, rows, lora } = options;
  const count = promptLength(config, signature) - signature.textTokens;
  const { hidden } = config.language.shape;
  const visual = graph.input('visual', 'float32', [rows, count, hidden]);
  const present = graph.input('present', 'float32', [rows, viewsOf(signature)]);
  const text = [rows, signature.textTokens];
  const tokens = graph.input('tokens', 'int64', text);
  const tokenMask = graph.input('token_mask', 'float32', text);
  const prompt = frozen(promptOf(params, config, signature, visual, present, tokens, tokenMask));
  const { said, saidMask } = saidInputs(graph, signature, rows);
  // The one slot that there is.
  const slot = graph.constant(new Array<number>(rows).fill(0), [rows], 'int64');
  const project: Project = bankLora(lora, params.scope(LORA_SCOPE), 1, slot, plainProject);
  const heard = hear(params, config, project, prompt, said, saidMask);
  const labels = graph.input('labels', 'int64', [rows, signature.reasoningTokens]);
  const logits = config.language.logits(params, heard.choosing);
  return { pooled: heard.pooled, spoken: heard.spoken, loss: crossEntropy(logits, labels) };
}

/** Nothing before the language model learns. */
function frozen(prompt: LargePrompt): LargePrompt {
  return { ...prompt, x: stopGradient(prompt.x) };
}

function saidInputs(graph: Graph, { reasoningTokens }: LargeSignature, rows: number) {
  return {
    said: graph.input('said', 'int64', [rows, reasoningTokens]),
    saidMask: graph.input('said_mask', 'float32', [rows, reasoningTokens]),
  };
}

/** Mean squared error of the predicted noise, weighed by `keep` and divided by its sum. */
function actionLoss(
  graph: Graph,
  params: Params,
  { config, signature, rows }: LargeTrainOptions,
  { pooled, spoken }: Given,
): Tensor {
  const chunk = [rows, signature.horizon, config.head.dims];
  const [clean, keep, noise] = ['clean', 'keep', 'noise'].map((name) =>
    graph.input(name, 'float32', chunk),
  ) as [Tensor, Tensor, Tensor];
  const levels = graph.input('levels', 'float32', [rows, 3]);
  const level = (i: number): Tensor => slice(levels, 1, i, i + 1);
  const [root, rest] = [reshape(level(1), [rows, 1, 1]), reshape(level(2), [rows, 1, 1])];
  const bank: Bank = { kind: 'grouped', slots: 1 };
  const voiced = graph.input('voiced', 'float32', [rows, 1]);
  const drive = {
    reasoning: mul(inject(params, config, pooled, spoken), voiced),
    condition: conditionOf(params, config, bank, pooled, bodyInputs(graph, config, rows)),
  };
  const noisy = add(mul(clean, root), mul(noise, rest));
  const found = predictNoise(params, config, bank, noisy, reshape(level(0), [rows]), drive);
  const error = sub(found, noise);
  return div(reduceSum(mul(mul(error, error), keep)), maximum(reduceSum(keep), 1));
}
