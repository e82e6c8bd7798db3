import { plainProject, type Project } from '../../backbones/index.ts';
import { bankLora } from '../../lora/apply.ts';
import type { LoraConfig } from '../../lora/adapter.ts';
import type { Bank } from '../../nn/bank.ts';
import { collectParams, inputParams, type Params, type ParamSpec } from '../../nn/params.ts';
import { Graph, type Tensor } from '../../tensor/index.ts';
import { bodyInputs } from '../graphs/inputs.ts';
import { checkSizes, imageSide, viewsOf, type LargeConfig, type LargeSignature } from './config.ts';
import { conditionOf } from './head.ts';
import { promptOf } from './prompt.ts';
import { inject, prefill, speak, type Reading, type SpokenTokens } from './reasoning.ts';
import { sample } from './sampler.ts';
import { viewTokens } from './views.ts';

export const LARGE_GRAPHS = ['act', 'reason', 'reason_and_act'] as const;
export type LargeGraph = (typeof LARGE_GRAPHS)[number];

/** Where a graph's weights come from. */
export interface LargeWeights {
  readonly params: Params;
  /** Affine layers of the language model. */
  readonly project: Project;
  /** Caches and attention in half precision. */
  readonly half: boolean;
}

export interface LargeOptions {
  readonly config: LargeConfig;
  readonly signature: LargeSignature;
  readonly rows: number;
  /** Slots of the banks of heads and adapters. */
  readonly slots: number;
  readonly special: SpokenTokens;
  /** Adapters of the language model's layers, gathered by `slot`; none without it. */
  readonly lora?: LoraConfig;
  /** Weights as inputs, named by their paths, when absent. */
  readonly weights?: (graph: Graph) => LargeWeights;
}

/** Scopes of the banks, which rows gather by `slot`: an embodiment's head, a tenant's adapter. */
export const HEAD_SCOPE = 'head';
export const LORA_SCOPE = 'lora';

/** Whether a parameter is a bank's, and so an input of every graph. */
export function isBank(name: string): boolean {
  return name.startsWith(`${HEAD_SCOPE}.`) || name.startsWith(`${LORA_SCOPE}.`);
}

/** Views and instruction. */
export interface LargeInputs {
  readonly images: Tensor;
  readonly tokens: Tensor;
  readonly tokenMask: Tensor;
  readonly present: Tensor;
}

export function largeInputs(
  graph: Graph,
  config: LargeConfig,
  signature: LargeSignature,
  rows: number,
): LargeInputs {
  const side = imageSide(config);
  const views = viewsOf(signature);
  return {
    images: graph.input('images', 'uint8', [rows, views, side, side, 3]),
    tokens: graph.input('tokens', 'int64', [rows, signature.textTokens]),
    tokenMask: graph.input('token_mask', 'float32', [rows, signature.textTokens]),
    present: graph.input('present', 'float32', [rows, views]),
  };
}

/**
 * A serving graph.
 *
 * `act`: images u8 [B, V, S, S, 3], tokens i64 [B, T] padded on the left, token_mask f32 [B, T], present
 * f32 [B, V], slot i64 [B], state and command f32 [B, A], known f32 [B, 1], reasoning f32 [B, D], and the
 * sampler's (see `sample`) → actions f32 [B, H, A] in normalised units.
 * `reason`: images, tokens, token_mask, present, with adapters slot → reasoning_tokens i64 [B, up to R],
 * reasoning f32 [B, D].
 * `reason_and_act`: both; views and prompt are read once, and the new reasoning drives the actions.
 * @throws LargeSizeError for sizes that no graph can be built for.
 */
export function largeGraph(kind: LargeGraph, options: LargeOptions): Graph {
  const { config, signature, rows } = options;
  checkSizes(config, signature);
  const graph = new Graph(kind, undefined, { inference: true });
  const weights = options.weights?.(graph) ?? inputWeights(graph);
  const views = largeInputs(graph, config, signature, rows);
  largeOutputs(graph, kind, weights, views, options);
  return graph;
}

function inputWeights(graph: Graph): LargeWeights {
  return { params: inputParams(graph), project: plainProject, half: false };
}

function largeOutputs(
  graph: Graph,
  kind: LargeGraph,
  { params, project, half }: LargeWeights,
  views: LargeInputs,
  { config, signature, rows, slots, special, lora }: LargeOptions,
): void {
  const needsSlot = kind !== 'reason' || lora !== undefined;
  const slot = needsSlot ? graph.input('slot', 'int64', [rows]) : undefined;
  const reading: Reading = {
    half,
    project:
      lora === undefined || slot === undefined
        ? project
        : bankLora(lora, params.scope(LORA_SCOPE), slots, slot, project),
  };
  const visual = viewTokens(params, config, signature, views.images);
  const { present, tokens, tokenMask } = views;
  const prompt = promptOf(params, config, signature, visual, present, tokens, tokenMask);
  const read = prefill(params, config, reading, prompt);
  let reasoning: Tensor | undefined;
  if (kind !== 'act') {
    const said = speak(params, config, reading, prompt, read, signature.reasoningTokens, special);
    reasoning = inject(params, config, read.pooled, said.mean);
    graph.output('reasoning_tokens', said.tokens);
    graph.output('reasoning', reasoning);
  }
  if (kind === 'reason' || slot === undefined) return;
  const bank: Bank = { kind: 'gathered', slots, slot };
  const drive = {
    reasoning: reasoning ?? graph.input('reasoning', 'float32', [rows, config.reasoning]),
    condition: conditionOf(params, config, bank, read.pooled, bodyInputs(graph, config, rows)),
  };
  graph.output('actions', sample(graph, params, config, signature, bank, drive));
}

/** The parameters of a configuration: shared ones, those of one head and of one adapter (without slots). */
export function largeParams(
  config: LargeConfig,
  lora?: LoraConfig,
): { shared: ParamSpec[]; head: ParamSpec[]; lora: ParamSpec[] } {
  const signature = {
    external: 1,
    wrist: 1,
    horizon: 2 ** config.decoder.channels.length,
    textTokens: 1,
    reasoningTokens: 1,
  };
  const specs = collectParams((params, graph) => {
    const weights = { params, project: plainProject, half: false };
    const views = largeInputs(graph, config, signature, 1);
    const special = { end: 0, pad: 0 };
    const options = { config, signature, rows: 1, slots: 1, special };
    largeOutputs(graph, 'reason_and_act', weights, views, {
      ...options,
      ...(lora === undefined ? {} : { lora }),
    });
  });
  const banked = (scope: string): ParamSpec[] =>
    specs
      .filter(({ name }) => name.startsWith(`${scope}.`))
      .map((spec) => ({ ...spec, shape: spec.shape.slice(1) }));
  return {
    shared: specs.filter(({ name }) => !isBank(name)),
    head: banked(HEAD_SCOPE),
    lora: banked(LORA_SCOPE),
  };
}
