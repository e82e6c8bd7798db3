import { elementBytes, onnxType } from './dtype.ts';
import { ShapeError } from './errors.ts';
import type { Attribute, Constant, External, Graph, Node, Tensor } from './graph.ts';
import { needs } from './needs.ts';
import { attributeType, modelProto, outside } from './onnx-schema.ts';
import { sizeOf } from './shapes.ts';

export interface OnnxOptions {
  /** Operator set of the standard domain; at least 20. */
  readonly opset?: number;
  readonly irVersion?: number;
  /** Where the bytes of the graph's external constants lie. */
  readonly external?: (name: string) => ExternalData;
}

/** A place in a file of raw bytes, little-endian, beside the model. */
export interface ExternalData {
  /** Relative to the model's own folder. */
  readonly location: string;
  /** In bytes. */
  readonly offset: number;
  readonly length: number;
}

/**
 * The graph as an ONNX model: the nodes that its outputs need, and every input.
 * Throws ShapeError if it has no output, or external constants of which nobody says where they lie.
 */
export function toOnnx(graph: Graph, options: OnnxOptions = {}): Uint8Array {
  if (graph.outputs.length === 0)
    throw new ShapeError('toOnnx', `graph ${graph.name} has no output`);
  const opset = options.opset ?? 21;
  if (opset < 20) throw new ShapeError('toOnnx', `operator set ${opset} lacks operators used here`);
  const message = {
    ir_version: options.irVersion ?? 10,
    producer_name: 'armature',
    graph: graphMessage(graph, needs(graph), new Map(), options.external),
    opset_import: [
      { domain: '', version: opset },
      { domain: 'com.microsoft', version: 1 },
    ],
  };
  return modelProto.encode(modelProto.fromObject(message)).finish();
}

/** `outer` holds the names of the surrounding graphs' tensors. */
function graphMessage(
  graph: Graph,
  needed: ReadonlySet<number>,
  outer: ReadonlyMap<number, string>,
  external?: OnnxOptions['external'],
): object {
  const names = new Map(outer);
  const externals = graph.externals.filter((e) => needed.has(e.tensor.id));
  for (const e of externals) names.set(e.tensor.id, e.name);
  for (const i of graph.inputs) names.set(i.tensor.id, i.name);
  const made = new Set(graph.nodes.flatMap((n) => n.outputs.map((t) => t.id)));
  const aliases: object[] = [];
  for (const o of graph.outputs) {
    // A result takes the output's name; an input, a constant or a second name needs a node of its own.
    if (made.has(o.tensor.id) && !names.has(o.tensor.id)) names.set(o.tensor.id, o.name);
    else aliases.push({ op_type: 'Identity', input: [nameOf(names, o.tensor)], output: [o.name] });
  }
  const nodes = graph.nodes.filter((n) => n.outputs.some((t) => needed.has(t.id)));
  const constants = [...graph.constants.values()].filter((c) => needed.has(c.tensor.id));
  return {
    name: graph.name,
    node: [...nodes.map((n) => nodeMessage(n, names, needed)), ...aliases],
    initializer: [
      ...constants.map((c) => constantMessage(c, names)),
      ...externals.map((e) => externalMessage(e, external)),
    ],
    input: graph.inputs.map((i) => valueMessage(i.name, i.tensor)),
    output: graph.outputs.map((o) => valueMessage(o.name, o.tensor)),
  };
}

function nameOf(names: ReadonlyMap<number, string>, tensor: Tensor | undefined): string {
  if (tensor === undefined) return '';
  return names.get(tensor.id) ?? `%${tensor.id}`;
}

function nodeMessage(
  node: Node,
  names: ReadonlyMap<number, string>,
  needed: ReadonlySet<number>,
): object {
  return {
    op_type: node.op,
    domain: node.domain,
    input: node.inputs.map((t) => nameOf(names, t)),
    output: node.outputs.map((t) => nameOf(names, t)),
    attribute: Object.entries(node.attributes).map(([name, a]) =>
      attributeMessage(name, a, names, needed),
    ),
  };
}

function attributeMessage(
  name: string,
  a: Attribute,
  names: ReadonlyMap<number, string>,
  needed: ReadonlySet<number>,
): object {
  if ('int' in a) return { name, type: attributeType.int, i: a.int };
  if ('float' in a) return { name, type: attributeType.float, f: a.float };
  if ('ints' in a) return { name, type: attributeType.ints, ints: [...a.ints] };
  if ('text' in a) return { name, type: attributeType.text, s: Buffer.from(a.text) };
  return { name, type: attributeType.graph, g: graphMessage(a.graph, needed, names) };
}

function constantMessage(constant: Constant, names: ReadonlyMap<number, string>): object {
  const { tensor, data } = constant;
  return {
    name: nameOf(names, tensor),
    dims: [...tensor.shape],
    data_type: onnxType[tensor.dtype],
    raw_data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  };
}

function externalMessage({ name, tensor }: External, place: OnnxOptions['external']): object {
  const where = place?.(name);
  const bytes = sizeOf(tensor.shape) * elementBytes[tensor.dtype];
  if (where?.length !== bytes) {
    throw new ShapeError('toOnnx', `${name} has ${bytes} bytes, which lie nowhere`, [tensor.shape]);
  }
  return {
    name,
    dims: [...tensor.shape],
    data_type: onnxType[tensor.dtype],
    // Texts, so that no size is too large for the format.
    external_data: Object.entries(where).map(([key, value]) => ({ key, value: String(value) })),
    data_location: outside,
  };
}

function valueMessage(name: string, tensor: Tensor): object {
  const dims = tensor.shape.map((d) => (d === -1 ? {} : { dim_value: d }));
  const tensorType = { elem_type: onnxType[tensor.dtype], shape: { dim: dims } };
  return { name, type: { tensor_type: tensorType } };
}
