import type { FrozenForm } from '@armature/sdk/contract';
import type { BaseModel } from '../checkpoint/index.ts';
import { special } from '../data/index.ts';
import {
  quantiseTrunk,
  serveGraph,
  type QuantisedLayers,
  type ServeGraph,
  type Signature,
} from '../divla/index.ts';
import { TRUNK_LORA } from '../lora/trunk.ts';
import type { Correction } from '../rtc/index.ts';
import { toOnnx } from '../tensor/index.ts';

/** Which graph of the model is wanted. */
export interface GraphRequest {
  readonly kind: ServeGraph;
  readonly signature: Signature;
  readonly rows: number;
  /** Slots of the bank of heads. */
  readonly slots: number;
  /** The base's trunk lies in the graph. */
  readonly packed: boolean;
  /** The trunk's layers have the rows' low-rank pairs beside them. */
  readonly paired: boolean;
  /** How guidance gets from the predicted chunk to the noisy one. */
  readonly correction: Correction;
  /** What the frozen layers are held in. */
  readonly form: FrozenForm;
}

/** A graph as ONNX, and the names of its inputs. */
export interface EmittedGraph {
  readonly model: Uint8Array;
  readonly inputs: readonly string[];
}

/** A graph that an engine can take. */
export interface BuiltGraph extends EmittedGraph {
  /** As the engine's runtime would rearrange it: it is loaded as it is. */
  readonly optimised: boolean;
}

/** Where graphs come from. */
export interface GraphSource {
  build(wanted: GraphRequest): Promise<BuiltGraph>;
}

/** What a graph is made from. */
export type GraphBase = Pick<BaseModel, 'config' | 'trunk' | 'trunkSpecs'>;

/** Frozen layers in few bits of a trunk, made when the first graph with them is wanted. */
const quantised = new WeakMap<GraphBase['trunk'], Map<QuantisedLayers['form'], QuantisedLayers>>();

/** Writes a serving graph. It takes tens of milliseconds in which its thread does nothing else. */
export function emitGraph(
  base: GraphBase,
  { kind, signature, rows, slots, packed, paired, correction, form }: GraphRequest,
): EmittedGraph {
  const { config, trunk } = base;
  const graph = serveGraph(kind, {
    config,
    signature,
    rows,
    slots,
    special,
    correction,
    ...(packed ? { trunk } : {}),
    ...(form === 'float32' ? {} : { quantised: quantisedLayers(base, form) }),
    ...(paired ? { lora: TRUNK_LORA } : {}),
  });
  return { model: toOnnx(graph), inputs: graph.inputs.map((input) => input.name) };
}

function quantisedLayers(
  { trunk, trunkSpecs }: GraphBase,
  form: QuantisedLayers['form'],
): QuantisedLayers {
  const known = quantised.get(trunk) ?? new Map<QuantisedLayers['form'], QuantisedLayers>();
  const layers = known.get(form) ?? quantiseTrunk(trunkSpecs, trunk, form);
  quantised.set(trunk, known.set(form, layers));
  return layers;
}
