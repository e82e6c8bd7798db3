import {
  OWN_SCOPE,
  isBank,
  largeGraph,
  promptLength,
  type LargeConfig,
  type LargeSignature,
} from '../divla/large/index.ts';
import { StoredWeights, restOf, type WeightFormat } from '../export/index.ts';
import type { LoraConfig } from '../lora/index.ts';
import { elementBytes, peakBytes, sizeOf, type Graph, type Tensor } from '../tensor/index.ts';

/** Formats of the language model's layers that are planned. */
export const PLANNED_FORMATS = ['float16', 'int8', 'int4'] as const satisfies WeightFormat[];
export type PlannedFormat = (typeof PLANNED_FORMATS)[number];

const GIB = 2 ** 30;

/** What the runtime's allocator leaves unused between values, as a share of them: measured on CPUs, 0.15 to 0.35. */
export const FRAGMENTATION = 0.4;

/** Actions of a chunk: they weigh nothing beside pictures and prompts. */
const HORIZON = 16;

export interface PlanOptions {
  readonly format: WeightFormat;
  /** Rows of a batch, and the views of each. */
  readonly batch: number;
  readonly external: number;
  readonly wrist: number;
  /** Tokens of the instruction, and of the reasoning at most; without reasoning the model only acts. */
  readonly textTokens: number;
  readonly reasoningTokens: number;
  /** Policies that are resident beside each other, and their adapter where they have one. */
  readonly slots: number;
  readonly lora?: LoraConfig;
  /** Of the GPU, in GiB. */
  readonly gpuMemory: number;
  /** What the driver, the runtime's libraries and its workspace are given, in GiB. */
  readonly reserve: number;
}

export interface MemoryPart {
  readonly name: string;
  readonly bytes: number;
}

export interface MemoryPlan {
  readonly parts: readonly MemoryPart[];
  readonly bytes: number;
  readonly fits: boolean;
  /** Rows that fit with everything else as asked; 0 where not even one does. */
  readonly largestBatch: number;
  /** Policies that fit, of one batch as asked. */
  readonly largestSlots: number;
}

/**
 * What a model takes of a machine's memory while one session serves it, read off the graph that is run: no weight
 * is made.
 * @throws RangeError for a count below 1 (texts, reasoning and one kind of views may be 0).
 */
export function planMemory(config: LargeConfig, options: PlanOptions): MemoryPlan {
  for (const name of ['batch', 'slots', 'gpuMemory'] as const) {
    if (!(options[name] > 0)) throw new RangeError(`${name} must be above 0`);
  }
  const parts = partsOf(config, options);
  const bytes = sum(parts);
  const room = options.gpuMemory * GIB - bytes;
  const perRow = sum(parts.filter(({ name }) => OF_ROWS.has(name))) / options.batch;
  const perSlot = sum(parts.filter(({ name }) => name === 'banks')) / options.slots;
  return {
    parts,
    bytes,
    fits: room >= 0,
    largestBatch: Math.max(0, options.batch + Math.floor(room / perRow)),
    largestSlots: Math.max(0, options.slots + Math.floor(room / perSlot)),
  };
}

/** Parts that grow with the rows of a batch. */
const OF_ROWS: ReadonlySet<string> = new Set(['cache', 'activations', 'fragmentation']);

/** Weights by the scopes of their names; what no scope here holds joins vision and language. */
const WEIGHTS: readonly (readonly [part: string, scope: string])[] = [
  ['language layers', 'model.layers.'],
  ['embeddings', 'model.'],
  ['embeddings', 'lm_head.'],
  ['decoder', `${OWN_SCOPE}.decoder.`],
  ['vision', ''],
];

function partsOf(config: LargeConfig, options: PlanOptions): MemoryPart[] {
  const { format, batch, slots, lora, reasoningTokens, reserve, ...rest } = options;
  const signature = { ...rest, horizon: HORIZON, reasoningTokens: Math.max(1, reasoningTokens) };
  const store = new StoredWeights({ weights: format, rest: restOf(format) });
  const graph = largeGraph(reasoningTokens === 0 ? 'act' : 'reason_and_act', {
    config,
    signature,
    rows: batch,
    slots,
    special: { end: 0, pad: 0 },
    ...(lora === undefined ? {} : { lora }),
    weights: (own) => ({ ...store.reader(own, isBank), half: restOf(format) === 'float16' }),
  });
  const weights = new Map([...new Set(WEIGHTS.map(([part]) => part))].map((part) => [part, 0]));
  for (const { name, parts } of store.list()) {
    const [part = ''] = WEIGHTS.find(([, scope]) => name.startsWith(scope)) ?? [];
    weights.set(part, (weights.get(part) ?? 0) + parts.reduce((n, one) => n + bytesOf(one), 0));
  }
  const banks = inputBytes(graph, isBank);
  const length = promptLength(config, signature) + reasoningTokens;
  const values = peakBytes(graph, length) + inputBytes(graph, (name) => !isBank(name));
  const cache = cacheBytes(config, options, signature);
  return [
    ...[...weights].map(([name, bytes]) => ({ name, bytes })),
    { name: 'cache', bytes: cache },
    { name: 'activations', bytes: values - cache },
    { name: 'fragmentation', bytes: Math.ceil(FRAGMENTATION * values) },
    { name: 'banks', bytes: banks },
    { name: 'reserve', bytes: Math.round(reserve * GIB) },
  ];
}

function sum(parts: readonly MemoryPart[]): number {
  return parts.reduce((total, { bytes }) => total + bytes, 0);
}

function bytesOf({ dtype, shape }: Pick<Tensor, 'dtype' | 'shape'>): number {
  return sizeOf(shape) * elementBytes[dtype];
}

function inputBytes(graph: Graph, isWanted: (name: string) => boolean): number {
  return graph.inputs
    .filter(({ name }) => isWanted(name))
    .reduce((total, { tensor }) => total + bytesOf(tensor), 0);
}

/** Keys and values of every layer, for the prompt and the longest reasoning. */
function cacheBytes(
  config: LargeConfig,
  { format, batch, reasoningTokens }: PlanOptions,
  signature: LargeSignature,
): number {
  // Without words to come a layer's keys and values are given up with the layer.
  if (reasoningTokens === 0) return 0;
  const { layers, kvHeads, headDim } = config.language.shape;
  const length = promptLength(config, signature) + reasoningTokens;
  return 2 * layers * kvHeads * headDim * length * batch * elementBytes[restOf(format)];
}
