import { type Graph, type Node, sizeOf, type Tensor } from '@armature/policy/tensor';

/**
 * Floating-point operations of one run of a graph's products and convolutions (two for each
 * multiply-add), of the nodes that its outputs need. Element-wise work is not counted, as is usual.
 * @throws RangeError for a graph with a loop, whose length its shapes do not tell.
 */
export function flopsOf(graph: Graph): number {
  const makers = new Map<number, Node>();
  for (const node of graph.nodes) for (const output of node.outputs) makers.set(output.id, node);
  const seen = new Set<Node>();
  const open: Tensor[] = graph.outputs.map((output) => output.tensor);
  let total = 0;
  for (let tensor = open.pop(); tensor !== undefined; tensor = open.pop()) {
    const node = makers.get(tensor.id);
    if (node === undefined || seen.has(node)) continue;
    seen.add(node);
    total += flopsOfNode(node);
    for (const input of node.inputs) if (input !== undefined) open.push(input);
  }
  return total;
}

function flopsOfNode(node: Node): number {
  const [first, second] = node.inputs;
  const [output] = node.outputs;
  if (first === undefined || output === undefined) return 0;
  switch (node.op) {
    case 'MatMul':
    case 'FusedMatMul':
    case 'Gemm': {
      const inner = first.shape.at(isSet(node, 'transA') ? -2 : -1) ?? 1;
      return 2 * sizeOf(output.shape) * inner;
    }
    case 'Conv':
      return 2 * sizeOf(output.shape) * kernelSize(second);
    case 'ConvTranspose':
      return 2 * sizeOf(first.shape) * kernelSize(second);
    case 'Loop':
      throw new RangeError('operations of a loop are not counted');
    default:
      return 0;
  }
}

/** Multiply-adds of one output (Conv) or input (ConvTranspose) value: [·, channels, …kernel]. */
function kernelSize(weight: Tensor | undefined): number {
  return weight === undefined ? 0 : sizeOf(weight.shape.slice(1));
}

function isSet(node: Node, attribute: string): boolean {
  const value = node.attributes[attribute];
  return value !== undefined && 'int' in value && value.int === 1;
}
