import { fixturePath } from './fixtures.ts';
import { modelFolder } from '../../infra/models/model-folder.ts';
import type { Engine, Value, Values } from '../../policy/engine/index.ts';
import { paramsOf, type Params, type ParamSpec } from '../../policy/nn/params.ts';
import { toOnnx, type Graph, type Tensor } from '../../policy/tensor/index.ts';
import type { SafeTensor } from '../../policy/checkpoint/index.ts';
import {
  modelWeights,
  openModelFolder,
  type HuggingFaceModel,
} from '../../policy/backbones/index.ts';

/** Reference folders as graphs that run. For tests only. */

/** Opens a folder of the reference outputs. */
export async function openReference(...parts: readonly string[]): Promise<HuggingFaceModel> {
  return openModelFolder(await modelFolder(fixturePath(...parts)));
}

/** Parameters as graph inputs, with what they are. */
export function watchedParams(graph: Graph): {
  params: Params;
  tensors: ReadonlyMap<string, Tensor>;
  specs: readonly ParamSpec[];
} {
  const tensors = new Map<string, Tensor>();
  const specs: ParamSpec[] = [];
  const params = paramsOf((spec) => {
    const tensor = graph.input(spec.name, 'float32', spec.shape);
    tensors.set(spec.name, tensor);
    specs.push(spec);
    return tensor;
  });
  return { params, tensors, specs };
}

/** The weights that `specs` name, as feeds. */
export async function weightFeeds(
  model: HuggingFaceModel,
  specs: readonly ParamSpec[],
  rename: (name: string) => string | undefined,
): Promise<Values> {
  const feeds: Record<string, Value> = {};
  for await (const { name, shape, data } of modelWeights(model, specs, rename)) {
    feeds[name] = { dtype: 'float32', shape, data };
  }
  return feeds;
}

/** A reference tensor as a feed. */
export function feedOf(tensor: SafeTensor): Value {
  if (tensor.dtype === 'F32') return { dtype: 'float32', shape: tensor.shape, data: tensor.data };
  if (tensor.dtype === 'I64') return { dtype: 'int64', shape: tensor.shape, data: tensor.data };
  throw new RangeError(`a feed is float32 or int64, not ${tensor.dtype}`);
}

/** Loads, runs and unloads a graph. */
export async function runOnce(engine: Engine, graph: Graph, feeds: Values): Promise<Values> {
  await engine.load(graph.name, toOnnx(graph));
  try {
    const wanted = new Set(graph.inputs.map(({ name }) => name));
    const given = Object.entries(feeds).filter(([name]) => wanted.has(name));
    return await engine.run(graph.name, Object.fromEntries(given));
  } finally {
    await engine.unload(graph.name);
  }
}
