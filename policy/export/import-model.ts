import {
  languageModel,
  languageName,
  qwenVisionShape,
  siglipName,
  siglipShape,
  siglipTokens,
  storedTensors,
  type HuggingFaceModel,
  type LanguageModel,
} from '../backbones/index.ts';
import { elements, initialValues, type ParamSpec } from '../nn/params.ts';
import { toOnnx, type ExternalData, type Graph } from '../tensor/index.ts';
import { DataFile, layOut, type ByteSink } from './data-file.ts';
import { encode, type ReadElements, type WeightError } from './encode.ts';
import { ExportError } from './errors.ts';
import {
  languageGraph,
  qwenVisionGraph,
  readingGraph,
  siglipGraph,
  type ExportSignature,
} from './graphs.ts';
import { StoredWeights, type StoreOptions, type StoredWeight } from './stored-weights.ts';

/** The folders of a model: a language model, a vision encoder, or both. */
export interface ModelSources {
  readonly language?: HuggingFaceModel;
  readonly vision?: HuggingFaceModel;
}

export interface ImportSizes {
  readonly batch: number;
  readonly views: number;
  readonly textTokens: number;
  readonly reasoningTokens: number;
  /** Visual tokens of a row; what the encoder or the preset gives when absent. */
  readonly visualTokens?: number;
  /** Pixels of a picture's side, for an encoder that takes any size. */
  readonly imageSize: number;
}

/** Everything about an import that is known before a weight is read. */
export interface ImportPlan {
  readonly store: StoreOptions;
  readonly signature: ExportSignature;
  readonly graphs: readonly Graph[];
  /** For comparing formats; none without a language model. */
  readonly reading: { readonly graph: Graph; readonly vocabulary: number } | undefined;
  readonly weights: readonly StoredWeight[];
  readonly places: ReadonlyMap<string, ExternalData>;
  /** Bytes of the data file. */
  readonly size: number;
  readonly parameters: number;
  /** Where the elements of each weight are read. */
  readonly origins: ReadonlyMap<string, Origin>;
  /** What no folder holds. */
  readonly fresh: FreshWeights;
}

/** Weights that start from a seed. */
export interface FreshWeights {
  readonly seed: number;
  /** Those in the data file, by name. */
  readonly specs: ReadonlyMap<string, ParamSpec>;
  /** One embodiment's head, in a file of its own. */
  readonly head: readonly ParamSpec[];
}

const NOTHING_FRESH: FreshWeights = { seed: 0, specs: new Map(), head: [] };

interface Origin {
  readonly folder: HuggingFaceModel;
  readonly tensor: string;
}

/** Tokens of the text by which formats are compared. */
export const READING_TOKENS = 16;

/** Visual tokens that DiVLA's resampler makes of an external view and of each wrist view beside it. */
const RESAMPLED = { external: 336, wrist: 16 };

const SIGLIP_TYPES: ReadonlySet<unknown> = new Set(['siglip', 'siglip_vision_model']);

/** Whether a folder holds SigLIP alone. */
export function isSiglip(folder: HuggingFaceModel): boolean {
  return SIGLIP_TYPES.has(folder.config['model_type']);
}

/**
 * Builds the graphs and lays out the data file, from headers alone.
 * @param location the data file's name, beside the graphs
 * @throws ExportError, ModelConfigError or ModelFolderError when the folders or sizes do not fit.
 */
export function planImport(
  sources: ModelSources,
  options: StoreOptions,
  sizes: ImportSizes,
  location: string,
): ImportPlan {
  const store = new StoredWeights(options);
  const language =
    sources.language === undefined ? undefined : languageModel(sources.language.config);
  const vision = planVision(sources, store, sizes, language);
  const signature = {
    batch: sizes.batch,
    views: sizes.views,
    visualTokens: sizes.visualTokens ?? vision?.tokens ?? 0,
    textTokens: sizes.textTokens,
    reasoningTokens: sizes.reasoningTokens,
  };
  const graphs = [
    ...(vision === undefined ? [] : [vision.graph]),
    ...(language === undefined ? [] : [languageGraph(language, store, signature)]),
  ];
  const weights = store.list();
  const { places, size } = layOut(weights, location);
  return {
    store: options,
    signature,
    graphs,
    reading:
      language === undefined
        ? undefined
        : {
            graph: readingGraph(language, store, READING_TOKENS),
            vocabulary: language.shape.vocabulary,
          },
    weights,
    places,
    size,
    parameters: weights.reduce((sum, { shape }) => sum + elements(shape), 0),
    origins: originsOf(sources, weights),
    fresh: NOTHING_FRESH,
  };
}

/** The language model alone and unrounded: what the formats are compared with. */
export function planReference(language: HuggingFaceModel, location: string): ImportPlan {
  const options = { weights: 'float32', rest: 'float32' } as const;
  const store = new StoredWeights(options);
  const model = languageModel(language.config);
  const graph = readingGraph(model, store, READING_TOKENS);
  const weights = store.list();
  return {
    store: options,
    signature: {
      batch: 1,
      views: 0,
      visualTokens: 0,
      textTokens: READING_TOKENS,
      reasoningTokens: 1,
    },
    graphs: [],
    reading: { graph, vocabulary: model.shape.vocabulary },
    weights,
    ...layOut(weights, location),
    parameters: weights.reduce((sum, { shape }) => sum + elements(shape), 0),
    origins: originsOf({ language }, weights),
    fresh: NOTHING_FRESH,
  };
}

/** A graph of a plan as an ONNX model that reads the plan's data file. */
export function modelBytes(plan: ImportPlan, graph: Graph): Uint8Array {
  return toOnnx(graph, {
    external: (name) => {
      const place = plan.places.get(name);
      if (place === undefined) throw new ExportError(name, 'has no place in the data file');
      return place;
    },
  });
}

/**
 * Writes the data file from front to back.
 * @param progress told the bytes that are written and the weight that is next
 * @param signal ends it between two reads
 * @returns the file's digest, and each weight's error
 */
export async function writeWeightData(
  plan: ImportPlan,
  sink: ByteSink,
  progress: (done: number, weight: string) => void = () => undefined,
  signal?: AbortSignal,
): Promise<{ readonly sha256: string; readonly errors: ReadonlyMap<string, WeightError> }> {
  const file = new DataFile(sink);
  const errors = new Map<string, WeightError>();
  for (const weight of plan.weights) {
    progress(file.size, weight.name);
    const read = readerOf(plan, weight.name);
    const error = await encode(
      weight,
      async (range) => {
        signal?.throwIfAborted();
        return read(range);
      },
      async (part) => {
        const place = plan.places.get(weight.parts[part]?.name ?? '');
        if (place === undefined) throw new ExportError(weight.name, 'has no place');
        await file.seek(place.offset);
      },
      async (bytes) => {
        await file.write(bytes);
        progress(file.size, weight.name);
      },
    );
    errors.set(weight.name, error);
  }
  return { sha256: file.digest(), errors };
}

/** Reads a weight's elements where they are stored, or makes them by the seed: then one weight is in memory. */
function readerOf({ origins, fresh }: ImportPlan, name: string): ReadElements {
  const origin = origins.get(name);
  if (origin !== undefined) return (range) => origin.folder.read(origin.tensor, range);
  const spec = fresh.specs.get(name);
  if (spec === undefined) throw new ExportError(name, 'has no source');
  const values = initialValues(spec, fresh.seed);
  return async ({ from, to }) => ({
    dtype: 'F32',
    shape: [to - from],
    data: values.subarray(from, to),
  });
}

/** A text that every vocabulary has: ids spread over it. */
export function readingIds(vocabulary: number): BigInt64Array {
  return BigInt64Array.from({ length: READING_TOKENS }, (_, i) =>
    BigInt((17 + i * 7919) % vocabulary),
  );
}

function planVision(
  sources: ModelSources,
  store: StoredWeights,
  sizes: ImportSizes,
  language: LanguageModel | undefined,
): { readonly graph: Graph; readonly tokens: number } | undefined {
  const images = sizes.batch * sizes.views;
  if (images === 0) return undefined;
  if (sources.vision !== undefined) {
    const shape = siglipShape(sources.vision.config);
    const graph = siglipGraph(shape, store, images);
    const resampled = RESAMPLED.external + (sizes.views - 1) * RESAMPLED.wrist;
    return {
      graph,
      tokens: language === undefined ? sizes.views * siglipTokens(shape) : resampled,
    };
  }
  if (sources.language?.config['vision_config'] === undefined) return undefined;
  const shape = qwenVisionShape(sources.language.config);
  const unit = shape.patch * shape.merge;
  if (sizes.imageSize % unit !== 0 || sizes.imageSize < unit) {
    throw new ExportError('image-size', `${sizes.imageSize} is no multiple of ${unit} pixels`);
  }
  const side = sizes.imageSize / shape.patch;
  return {
    graph: qwenVisionGraph(shape, store, images, side),
    tokens: sizes.views * (side / shape.merge) ** 2,
  };
}

const SIGLIP_SCOPE = 'vision_model.';

/** The folder and the tensor of each weight. @throws ModelFolderError for one that is absent. */
export function originsOf(
  { language, vision }: ModelSources,
  weights: readonly StoredWeight[],
): ReadonlyMap<string, Origin> {
  const isSiglipWeight = ({ name }: StoredWeight): boolean => name.startsWith(SIGLIP_SCOPE);
  const origins = new Map<string, Origin>();
  const add = (
    folder: HuggingFaceModel | undefined,
    own: readonly StoredWeight[],
    rename: (name: string) => string | undefined,
  ): void => {
    if (folder === undefined) return;
    for (const [name, tensor] of storedTensors(folder, own, rename)) {
      origins.set(name, { folder, tensor });
    }
  };
  add(
    language,
    weights.filter((weight) => !isSiglipWeight(weight)),
    languageName,
  );
  if (vision !== undefined) {
    const whole = [...vision.tensors.keys()].some((key) => key.startsWith('text_model.'));
    add(vision, weights.filter(isSiglipWeight), (name) => {
      const own = siglipName(name, whole);
      return own === undefined ? undefined : `${SIGLIP_SCOPE}${own}`;
    });
  }
  return origins;
}
