import { z } from 'zod';
import {
  languageModel,
  qwenVisionShape,
  siglipShape,
  type HuggingFaceModel,
} from '../backbones/index.ts';
import {
  HEAD_SCOPE,
  LARGE_GRAPHS,
  LargeSizeError,
  OWN_SCOPE,
  isBank,
  largeGraph,
  largeParams,
  promptLength,
  type LargeConfig,
  type LargeSignature,
  type LargeVision,
} from '../divla/large/index.ts';
import type { LoraConfig } from '../lora/index.ts';
import { elements, initialValues, type ParamSpec } from '../nn/params.ts';
import { layOut } from './data-file.ts';
import { ExportError } from './errors.ts';
import { readingGraph } from './graphs.ts';
import { READING_TOKENS, originsOf, type ImportPlan, type ModelSources } from './import-model.ts';
import { StoredWeights, type StoreOptions } from './stored-weights.ts';

/** Sizes of a joined model that its folders do not have. */
export interface PolicySizes {
  readonly batch: number;
  readonly signature: LargeSignature;
  /** Pixels of a picture's side, for an encoder that takes any size. */
  readonly imageSize: number;
  /** Slots of the banks of heads and adapters. */
  readonly slots: number;
  readonly lora?: LoraConfig;
  /** DiVLA's own sizes. */
  readonly own: Omit<LargeConfig, 'name' | 'language' | 'vision'>;
  /** Of the weights that no folder holds. */
  readonly seed: number;
}

/** Whether the folders hold what a joined model is made of: a language model and something to see with. */
export function isJoinable({ language, vision }: ModelSources): boolean {
  return language !== undefined && (vision !== undefined || 'vision_config' in language.config);
}

/**
 * The graphs `act`, `reason` and `reason_and_act` of a language model with a vision encoder, and the layout
 * of their data file, from headers alone. What no folder holds (`divla.…`) starts from the seed.
 * @throws ExportError, ModelConfigError or ModelFolderError when the folders or sizes do not fit.
 */
export function planPolicy(
  sources: ModelSources,
  options: StoreOptions,
  sizes: PolicySizes,
  location: string,
): ImportPlan {
  const { signature, batch, slots, lora } = sizes;
  const config = policyConfig(sources, sizes);
  const store = new StoredWeights(options);
  const end = endToken(sources.language);
  const built = sized(() =>
    LARGE_GRAPHS.map((kind) =>
      largeGraph(kind, {
        config,
        signature,
        rows: batch,
        slots,
        // What follows an end is the end once more: not every folder names a token to fill with.
        special: { end, pad: end },
        ...(lora === undefined ? {} : { lora }),
        weights: (graph) => ({
          ...store.reader(graph, isBank),
          half: options.rest === 'float16',
        }),
      }),
    ),
  );
  const reading = readingGraph(config.language, store, READING_TOKENS);
  const weights = store.list();
  const isFresh = ({ name }: { readonly name: string }): boolean =>
    name.startsWith(`${OWN_SCOPE}.`);
  const published = weights.filter((weight) => !isFresh(weight));
  return {
    store: options,
    signature: {
      batch,
      views: signature.external + signature.wrist,
      visualTokens: promptLength(config, signature) - signature.textTokens,
      textTokens: signature.textTokens,
      reasoningTokens: signature.reasoningTokens,
    },
    graphs: built,
    reading: { graph: reading, vocabulary: config.language.shape.vocabulary },
    weights,
    ...layOut(weights, location),
    parameters: weights.reduce((sum, { shape }) => sum + elements(shape), 0),
    origins: originsOf(sources, published),
    fresh: {
      seed: sizes.seed,
      specs: new Map(weights.filter(isFresh).map(({ name }) => [name, store.specOf(name)])),
      head: largeParams(config).head,
    },
  };
}

/** The configuration that two folders and DiVLA's own sizes make. */
export function policyConfig(
  { language, vision }: ModelSources,
  { own, imageSize }: Pick<PolicySizes, 'own' | 'imageSize'>,
): LargeConfig {
  if (language === undefined) throw new ExportError('dir', 'there is no language model to join');
  const eyes: LargeVision =
    vision === undefined
      ? { kind: 'qwen2-vl', shape: qwenVisionShape(language.config), image: imageSize }
      : { kind: 'siglip', shape: siglipShape(vision.config) };
  return { ...own, name: 'imported', language: languageModel(language.config), vision: eyes };
}

/** A fresh head by name: what the first fine-tune of an embodiment starts from. */
export function freshHead(fresh: {
  readonly seed: number;
  readonly head: readonly ParamSpec[];
}): Map<string, { readonly shape: readonly number[]; readonly data: Float32Array }> {
  return new Map(
    fresh.head.map((spec) => [
      spec.name,
      { shape: spec.shape, data: initialValues(spec, fresh.seed) },
    ]),
  );
}

/** Parameters of each scope of fresh weights, e.g. `divla.decoder` or `head.state`. */
export function freshScopes(specs: Iterable<ParamSpec>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { name, shape } of specs) {
    const parts = name.split('.');
    const scope = parts[0] === HEAD_SCOPE ? HEAD_SCOPE : parts.slice(0, 2).join('.');
    counts.set(scope, (counts.get(scope) ?? 0) + elements(shape));
  }
  return counts;
}

const ends = z.object({ eos_token_id: z.union([z.number(), z.tuple([z.number()], z.number())]) });

/** The id that ends a text; the first of several. */
function endToken(language: HuggingFaceModel | undefined): number {
  const { text_config: text, ...config } = language?.config ?? {};
  for (const candidate of [config, text]) {
    const found = ends.safeParse(candidate);
    if (found.success) return [found.data.eos_token_id].flat()[0] ?? NaN;
  }
  throw new ExportError('dir', 'config.json names no eos_token_id, which ends a reasoning');
}

/** Sizes that no graph can be built for, as the option at fault. */
function sized<T>(build: () => T): T {
  try {
    return build();
  } catch (error) {
    if (error instanceof LargeSizeError) throw new ExportError(error.field, error.reason);
    throw error;
  }
}
