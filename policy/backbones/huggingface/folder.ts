import { z } from 'zod';
import {
  openSafetensors,
  toFloat32,
  type ByteSource,
  type ElementRange,
  type OpenSafetensors,
  type SafeTensor,
} from '../../checkpoint/index.ts';
import type { ParamSpec } from '../../nn/params.ts';
import { ModelFolderError } from '../errors.ts';

/** A folder of files, wherever it lies: the caller knows how to read it. */
export interface ModelFolder {
  readonly files: readonly string[];
  open(file: string): Promise<ByteSource>;
}

/** A model folder as Hugging Face lays it out, of which only the headers are in memory. */
export interface HuggingFaceModel {
  readonly config: Readonly<Record<string, unknown>>;
  /** The tensors' own names, with the file that holds each. */
  readonly tensors: ReadonlyMap<string, OpenSafetensors>;
  /** A tensor, or some of its elements as a vector. */
  read(name: string, range?: ElementRange): Promise<SafeTensor>;
}

const FLOATS: ReadonlySet<SafeTensor['dtype']> = new Set(['F32', 'F16', 'BF16']);

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/**
 * Reads config.json and the headers of the weights, in one file or in shards that an index names.
 * Rejects with ModelFolderError when a file is absent or the index does not fit the shards.
 */
export async function openModelFolder(folder: ModelFolder): Promise<HuggingFaceModel> {
  const config = z.record(z.string(), z.unknown()).safeParse(await readJson(folder, 'config.json'));
  if (!config.success) throw new ModelFolderError('config.json is no object');
  const tensors = folder.files.includes(INDEX) ? await shards(folder) : await single(folder);
  return {
    config: config.data,
    tensors,
    async read(name, range) {
      const file = tensors.get(name);
      if (file === undefined) throw new ModelFolderError(`the folder has no tensor ${name}`);
      return file.read(name, range);
    },
  };
}

async function single(folder: ModelFolder): Promise<Map<string, OpenSafetensors>> {
  const file = await openSafetensors(await openFile(folder, SINGLE));
  return new Map([...file.entries.keys()].map((name) => [name, file]));
}

async function shards(folder: ModelFolder): Promise<Map<string, OpenSafetensors>> {
  const index = indexSchema.safeParse(await readJson(folder, INDEX));
  if (!index.success) throw new ModelFolderError(`${INDEX} has no weight_map`);
  const open = new Map<string, OpenSafetensors>();
  const tensors = new Map<string, OpenSafetensors>();
  for (const [name, file] of Object.entries(index.data.weight_map)) {
    const shard = open.get(file) ?? (await openSafetensors(await openFile(folder, file)));
    open.set(file, shard);
    if (!shard.entries.has(name)) {
      throw new ModelFolderError(`${INDEX} says that ${file} holds ${name}, which it does not`);
    }
    tensors.set(name, shard);
  }
  return tensors;
}

async function openFile(folder: ModelFolder, file: string): Promise<ByteSource> {
  if (!folder.files.includes(file)) throw new ModelFolderError(`the folder has no ${file}`);
  return folder.open(file);
}

async function readJson(folder: ModelFolder, file: string): Promise<unknown> {
  const source = await openFile(folder, file);
  const text = new TextDecoder().decode(await source.read(0, source.size));
  try {
    const parsed: unknown = JSON.parse(text);
    return parsed;
  } catch (error) {
    throw new ModelFolderError(`${file} is no JSON: ${String(error)}`);
  }
}

/**
 * A model's weights one after the other, as float32: no more than one is in memory unless the caller
 * keeps it.
 * @param rename the model's name of a tensor; undefined for one that is not the model's
 * Rejects with ModelFolderError naming a tensor that is absent or has another shape.
 */
export async function* modelWeights(
  model: HuggingFaceModel,
  specs: readonly Pick<ParamSpec, 'name' | 'shape'>[],
  rename: (name: string) => string | undefined,
): AsyncGenerator<{
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}> {
  const stored = storedTensors(model, specs, rename);
  for (const { name, shape } of specs) {
    yield { name, shape, data: toFloat32(await model.read(stored.get(name) ?? name)) };
  }
}

/**
 * The folder's own name of each of a model's tensors, from the headers alone.
 * @throws ModelFolderError naming a tensor that is absent, has another shape, or holds whole numbers.
 */
export function storedTensors(
  model: HuggingFaceModel,
  specs: readonly Pick<ParamSpec, 'name' | 'shape'>[],
  rename: (name: string) => string | undefined,
): ReadonlyMap<string, string> {
  const owned = new Map<string, string>();
  for (const name of model.tensors.keys()) {
    const own = rename(name);
    if (own !== undefined) owned.set(own, name);
  }
  const stored = new Map<string, string>();
  for (const { name, shape } of specs) {
    const found = owned.get(name);
    const entry = found === undefined ? undefined : model.tensors.get(found)?.entries.get(found);
    if (found === undefined || entry === undefined) {
      throw new ModelFolderError(`the folder lacks the tensor ${name}`);
    }
    if (entry.shape.join() !== shape.join()) {
      throw new ModelFolderError(
        `${found} is [${entry.shape.join(', ')}], the config makes it [${shape.join(', ')}]`,
      );
    }
    if (!FLOATS.has(entry.dtype)) throw new ModelFolderError(`${found} holds ${entry.dtype}`);
    stored.set(name, found);
  }
  return stored;
}
