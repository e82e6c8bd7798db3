import { elements, type ParamSpec } from '../nn/params.ts';
import { fromFloat32, readSafetensors, toFloat32, writeSafetensors } from './safetensors.ts';

/** Weights that do not fit the model, or are no numbers; names the tensor. */
export class WeightsError extends Error {
  override readonly name = 'WeightsError';
}

export type Weights = ReadonlyMap<string, Float32Array>;

/** Largest size of a weight that is believed; trained ones stay far below. */
const LARGEST = 1e4;

/**
 * Weights by name as a safetensors file.
 * @param dtype F16 halves the size; values beyond ±65504 are refused
 */
export function writeWeights(
  specs: readonly ParamSpec[],
  weights: (name: string) => Float32Array,
  dtype: 'F32' | 'F16',
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  return writeSafetensors(
    new Map(
      specs.map((spec) => [spec.name, fromFloat32(weights(spec.name), spec.shape, dtype)] as const),
    ),
    metadata,
  );
}

/**
 * Reads the weights that `specs` name, as float32.
 * @throws WeightsError when one is absent, misshapen, not finite or beyond 1e4.
 */
export function readWeights(
  specs: readonly ParamSpec[],
  bytes: Uint8Array,
): { weights: Map<string, Float32Array>; metadata: Readonly<Record<string, string>> } {
  const { tensors, metadata } = readSafetensors(bytes);
  const weights = new Map<string, Float32Array>();
  for (const spec of specs) {
    const tensor = tensors.get(spec.name);
    if (tensor === undefined) throw new WeightsError(`the file lacks the tensor ${spec.name}`);
    if (tensor.shape.join() !== spec.shape.join()) {
      throw new WeightsError(
        `${spec.name} is [${tensor.shape.join(', ')}], the model needs [${spec.shape.join(', ')}]`,
      );
    }
    const data = toFloat32(tensor);
    const bad = data.findIndex((value) => !(Math.abs(value) <= LARGEST));
    if (bad >= 0) {
      throw new WeightsError(
        `${spec.name} holds ${String(data[bad])} at element ${bad}; weights are finite`,
      );
    }
    if (data.length !== elements(spec.shape)) {
      throw new WeightsError(`${spec.name} has ${data.length} elements`);
    }
    weights.set(spec.name, data);
  }
  return { weights, metadata };
}
