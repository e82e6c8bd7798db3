import { type Graph, type Node, sizeOf, type Tensor } from '@armature/policy/tensor';

/** What a graph's shapes do not tell of its loops. */
export interface LoopCounts {
  /** Trips of every loop that has no fixed number of them. */
  readonly trips?: number;
  /** What a length that grows from trip to trip is on average. */
  readonly length?: number;
}

/**
 * Floating-point operations of one run of a graph's products and convolutions (two for each
 * multiply-add), of the nodes that its outputs need; those of a loop's body count once a trip.
 * Element-wise work is not counted, as is usual.
 * @throws RangeError for a loop of as many trips as its run decides, or a length that grows in it, where
 * `counts` has no number for it.
 */
export function flopsOf(graph: Graph, counts: LoopCounts = {}): number {
  return flopsWithin(
    graph,
    graph.outputs.map((output) => output.tensor),
    counts,
  ).flops;
}

/** Operations that the tensors need within their graph, and the tensors of surrounding graphs that they read. */
function flopsWithin(
  graph: Graph,
  wanted: readonly Tensor[],
  counts: LoopCounts,
): { flops: number; captured: Tensor[] } {
  const makers = new Map<number, Node>();
  for (const node of graph.nodes) for (const output of node.outputs) makers.set(output.id, node);
  const seen = new Set<Node>();
  const captured: Tensor[] = [];
  const open = [...wanted];
  let flops = 0;
  for (let tensor = open.pop(); tensor !== undefined; tensor = open.pop()) {
    if (tensor.graph !== graph) captured.push(tensor);
    const node = makers.get(tensor.id);
    if (node === undefined || seen.has(node)) continue;
    seen.add(node);
    for (const input of node.inputs) if (input !== undefined) open.push(input);
    if (node.op !== 'Loop') {
      flops += flopsOfNode(node, counts);
      continue;
    }
    const body = bodyOf(node);
    const trips = tripsOf(node, body, counts);
    const results = body.outputs.map((output) => output.tensor);
    const inside = flopsWithin(body, results, counts);
    flops += trips * inside.flops;
    open.push(...inside.captured);
  }
  return { flops, captured };
}

function bodyOf(node: Node): Graph {
  const { body } = node.attributes;
  if (body === undefined || !('graph' in body)) throw new RangeError('a loop has a body');
  return body.graph;
}

/** A loop that never stops early has as many trips as its constant says. */
function tripsOf(node: Node, body: Graph, { trips }: LoopCounts): number {
  const goesOn = body.outputs[0]?.tensor;
  const most = node.inputs[0];
  const isFixed = goesOn?.graph.constants.has(goesOn.id) === true;
  const data = most?.graph.constants.get(most.id)?.data;
  if (isFixed && data !== undefined) return Number(data[0]);
  if (trips === undefined) throw new RangeError('the number of a loop’s trips is not given');
  return trips;
}

function flopsOfNode(node: Node, counts: LoopCounts): number {
  const [first, second] = node.inputs;
  const [output] = node.outputs;
  if (first === undefined || output === undefined) return 0;
  const size = (shape: readonly number[]): number => sizeOf(shape.map((d) => lengthOf(d, counts)));
  switch (node.op) {
    case 'MatMul':
    case 'FusedMatMul':
    case 'Gemm':
    case 'DynamicQuantizeMatMul':
    case 'MatMulNBits': {
      const inner = first.shape.at(isSet(node, 'transA') ? -2 : -1) ?? 1;
      return 2 * size(output.shape) * lengthOf(inner, counts);
    }
    case 'Conv':
      return 2 * size(output.shape) * kernelSize(second);
    case 'ConvTranspose':
      return 2 * size(first.shape) * kernelSize(second);
    default:
      return 0;
  }
}

function lengthOf(dimension: number, { length }: LoopCounts): number {
  if (dimension >= 0) return dimension;
  if (length === undefined) throw new RangeError('a length that grows in a loop is not given');
  return length;
}

/** Multiply-adds of one output (Conv) or input (ConvTranspose) value: [·, channels, …kernel]. */
function kernelSize(weight: Tensor | undefined): number {
  return weight === undefined ? 0 : sizeOf(weight.shape.slice(1));
}

function isSet(node: Node, attribute: string): boolean {
  const value = node.attributes[attribute];
  return value !== undefined && 'int' in value && value.int === 1;
}
