import { fromHalf } from '../half.ts';
import type { Attribute, Graph, Node, Tensor } from '../graph.ts';
import type { NdArray } from './array.ts';
import { kernels } from './kernels.ts';
import type { Attributes } from './kernels.ts';

/** Runs a graph node by node in float64: independent of ONNX Runtime, and precise enough to difference. */

/** Values of `wanted` for inputs given by name. */
export function evaluate(
  graph: Graph,
  feeds: Readonly<Record<string, NdArray>>,
  wanted: readonly Tensor[],
): readonly NdArray[] {
  const values = new Map<number, NdArray>();
  for (const { name, tensor } of graph.inputs) {
    const value = feeds[name];
    if (value === undefined) throw new Error(`no input ${name}`);
    values.set(tensor.id, value);
  }
  for (const { tensor, data } of graph.constants.values()) {
    const numbers = Array.from<number | bigint>(data).map(Number);
    const real = tensor.dtype === 'float16' ? numbers.map(fromHalf) : numbers;
    values.set(tensor.id, { shape: tensor.shape, data: Float64Array.from(real) });
  }
  const used = ancestors(graph, wanted);
  for (const node of graph.nodes) if (used.has(node)) run(node, values);
  return wanted.map((t) => valueOf(values, t));
}

function ancestors(graph: Graph, wanted: readonly Tensor[]): ReadonlySet<Node> {
  const ids = new Set(wanted.map((t) => t.id));
  const used = new Set<Node>();
  for (const node of [...graph.nodes].reverse()) {
    if (!node.outputs.some((t) => ids.has(t.id))) continue;
    used.add(node);
    for (const t of node.inputs) if (t !== undefined) ids.add(t.id);
  }
  return used;
}

function run(node: Node, values: Map<number, NdArray>): void {
  const kernel = kernels[node.op];
  if (kernel === undefined) throw new Error(`the reference has no ${node.op}`);
  const inputs = node.inputs.flatMap((t) => (t === undefined ? [] : [valueOf(values, t)]));
  const outputs = kernel(inputs, attributesOf(node));
  node.outputs.forEach((t, i) => {
    const value = outputs[i];
    if (value?.shape.join() !== t.shape.join()) {
      throw new Error(
        `${node.op} gave [${value?.shape.join() ?? ''}], the graph says [${t.shape.join()}]`,
      );
    }
    values.set(t.id, value);
  });
}

function valueOf(values: ReadonlyMap<number, NdArray>, t: Tensor): NdArray {
  const value = values.get(t.id);
  if (value === undefined) throw new Error(`tensor ${t.id} has no value`);
  return value;
}

function attributesOf(node: Node): Attributes {
  const find = (name: string): Attribute | undefined => node.attributes[name];
  const missing = (name: string) => new Error(`${node.op} has no attribute ${name}`);
  return {
    int: (name, fallback) => {
      const a = find(name);
      if (a !== undefined && 'int' in a) return a.int;
      if (fallback === undefined) throw missing(name);
      return fallback;
    },
    ints: (name) => {
      const a = find(name);
      if (a === undefined || !('ints' in a)) throw missing(name);
      return a.ints;
    },
    float: (name) => {
      const a = find(name);
      if (a === undefined || !('float' in a)) throw missing(name);
      return a.float;
    },
    text: (name) => {
      const a = find(name);
      if (a === undefined || !('text' in a)) throw missing(name);
      return a.text;
    },
  };
}
