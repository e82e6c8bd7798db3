import type { LoraConfig } from '../lora/index.ts';
import { siglipTokens } from '../backbones/index.ts';
import type { WeightFormat } from '../export/index.ts';
import { adapterParameters, presetParameters } from './parameters.ts';
import type { LargePreset } from './presets.ts';

/** Formats of the language model's layers on a GPU; everything else is float16. */
export const PLANNED_FORMATS = ['float16', 'int8', 'int4'] as const satisfies WeightFormat[];
export type PlannedFormat = (typeof PLANNED_FORMATS)[number];

/** Bytes a weight takes with its scales: one float16 a column of thousands, or a block of 32. */
const WEIGHT_BYTES: Readonly<Record<PlannedFormat, number>> = {
  float16: 2,
  int8: 1,
  int4: 0.5 + 2 / 32,
};

const HALF = 2;
const SINGLE = 4;
const GIB = 2 ** 30;

export interface PlanOptions {
  readonly format: PlannedFormat;
  /** Rows of a batch, and the views of each. */
  readonly batch: number;
  readonly external: number;
  readonly wrist: number;
  /** Tokens of the instruction, and of the reasoning at most. */
  readonly textTokens: number;
  readonly reasoningTokens: number;
  /** Policies that are resident beside each other, and their adapter where they have one. */
  readonly slots: number;
  readonly lora?: LoraConfig;
  /** Of the GPU, in GiB. */
  readonly gpuMemory: number;
  /** What the driver, the runtime's workspace and fragmentation are given, in GiB. */
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
 * What a preset takes of a GPU's memory while it serves.
 * @throws RangeError for a count below 1 (views, texts and reasoning may be 0).
 */
export function planMemory(preset: LargePreset, options: PlanOptions): MemoryPlan {
  for (const name of ['batch', 'slots', 'gpuMemory'] as const) {
    if (!(options[name] > 0)) throw new RangeError(`${name} must be above 0`);
  }
  const parts = partsOf(preset, options);
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  const room = options.gpuMemory * GIB - bytes;
  const share = (name: string): number => parts.find((part) => part.name === name)?.bytes ?? 0;
  const perRow = (share('cache') + share('activations')) / options.batch;
  const perSlot = share('banks') / options.slots;
  return {
    parts,
    bytes,
    fits: room >= 0,
    largestBatch: Math.max(0, options.batch + Math.floor(room / perRow)),
    largestSlots: Math.max(0, options.slots + Math.floor(room / perSlot)),
  };
}

function partsOf(preset: LargePreset, options: PlanOptions): MemoryPart[] {
  const count = presetParameters(preset);
  const adapter = options.lora === undefined ? 0 : adapterParameters(preset.language, options.lora);
  return [
    { name: 'language layers', bytes: count.languageLayers * WEIGHT_BYTES[options.format] },
    { name: 'embeddings', bytes: count.languageRest * HALF },
    { name: 'vision', bytes: (count.vision + count.joints) * HALF },
    { name: 'decoder', bytes: count.decoder * HALF },
    { name: 'cache', bytes: options.batch * cacheBytes(preset, options) },
    { name: 'activations', bytes: options.batch * activationBytes(preset, options) },
    { name: 'banks', bytes: options.slots * (count.head + adapter) * HALF },
    { name: 'reserve', bytes: options.reserve * GIB },
  ];
}

function promptTokens({ tokens }: LargePreset, options: PlanOptions): number {
  return options.external * tokens.external + options.wrist * tokens.wrist + options.textTokens;
}

/** Keys and values of every layer, for the prompt and the longest reasoning. */
function cacheBytes(preset: LargePreset, options: PlanOptions): number {
  const { layers, kvHeads, headDim } = preset.language.shape;
  const length = promptTokens(preset, options) + options.reasoningTokens;
  return 2 * layers * kvHeads * headDim * length * HALF;
}

/**
 * The largest of what lives at the same time in one row: a layer of the vision encoder (its residual,
 * q, k, v and scores, or its inner width), the same of the language model over the prompt (gate, up and
 * their product), or the logits of one token.
 */
function activationBytes(preset: LargePreset, options: PlanOptions): number {
  const { language } = preset;
  const vision = preset.vision.shape;
  const patches = siglipTokens(vision);
  const views = options.external + options.wrist;
  const seen =
    views *
    Math.max(
      patches * 4 * vision.hidden + 2 * vision.heads * patches ** 2,
      patches * (vision.hidden + 2 * vision.intermediate),
    );
  const { hidden, heads, kvHeads, headDim, intermediate, vocabulary } = language.shape;
  const prompt = promptTokens(preset, options);
  const read = Math.max(
    prompt * (2 * hidden + (heads + 2 * kvHeads) * headDim) + 2 * heads * prompt ** 2,
    prompt * (hidden + 3 * intermediate),
  );
  const pixels = views * vision.channels * vision.image ** 2;
  return Math.max(seen + pixels, read) * HALF + vocabulary * SINGLE;
}
