import { elementBytes } from './dtype.ts';
import type { Graph, Node, Tensor } from './graph.ts';
import { needs } from './needs.ts';
import { sizeOf } from './shapes.ts';

/**
 * How much memory a graph's values take while the runtime runs it, as its planner lays them out: a value is given up
 * after its last reader, and its buffer is then kept for later values of the same type and shape, up to the last of
 * them. So layers of one shape share buffers, and those of attention live beside those of the layers around it.
 */

/** Results that are their input by another name. */
const RENAMES = new Set(['Reshape', 'Identity', 'Squeeze', 'Unsqueeze', 'Flatten']);
/** Results that take their input's place where it has no other reader. */
const REPLACES = new Set(['Softmax']);

/**
 * Bytes of all values that are there at once, at most. Inputs, constants, what is computed of constants alone (once,
 * when the graph is loaded) and the runtime's own workspace are left out.
 * @param grown length that an axis of a loop which grows from trip to trip has in the end
 */
export function peakBytes(graph: Graph, grown = 0): number {
  return peakOf(graph, { needed: needs(graph), grown, fixed: new Set() }, 0);
}

interface Within {
  readonly needed: ReadonlySet<number>;
  readonly grown: number;
  /** Constants, and what is computed of them alone. */
  readonly fixed: Set<number>;
}

/** A stretch of memory, held by one value after another. */
interface Buffer {
  readonly bytes: number;
  readonly from: number;
  to: number;
}

/** @param beside bytes that surrounding graphs hold meanwhile */
function peakOf(graph: Graph, within: Within, beside: number): number {
  for (const id of graph.constants.keys()) within.fixed.add(id);
  for (const { tensor } of graph.externals) within.fixed.add(tensor.id);
  const nodes = graph.nodes.filter((node) => isComputed(node, within));
  const held = heldAt(nodes, buffersOf(graph, nodes, within.grown));
  let most = beside;
  nodes.forEach((node, at) => {
    const now = beside + (held[at] ?? 0);
    most = Math.max(most, now);
    // A trip has what the trip before it left; what the loop gives in the end is set aside beside both.
    for (const body of bodiesOf(node)) {
      most = Math.max(most, peakOf(body, within, now + carriedBytes(node, within.grown)));
    }
  });
  return most;
}

function isComputed(node: Node, { needed, fixed }: Within): boolean {
  if (!node.outputs.some(({ id }) => needed.has(id))) return false;
  const isFolded =
    bodiesOf(node).length === 0 && node.inputs.every((t) => t === undefined || fixed.has(t.id));
  if (isFolded) for (const { id } of node.outputs) fixed.add(id);
  return !isFolded;
}

/** Bytes that are held while each node runs. */
function heldAt(nodes: readonly Node[], buffers: readonly Buffer[]): number[] {
  const change = new Array<number>(nodes.length + 1).fill(0);
  for (const { from, to, bytes } of buffers) {
    change[from] = (change[from] ?? 0) + bytes;
    const after = Math.min(to, nodes.length - 1) + 1;
    change[after] = (change[after] ?? 0) - bytes;
  }
  let now = 0;
  return nodes.map((_, at) => (now += change[at] ?? 0));
}

/** The buffers of a graph's own values, each from the node that first needs it to the last. */
function buffersOf(graph: Graph, nodes: readonly Node[], grown: number): Buffer[] {
  const valueOf = namesOf(nodes);
  const readers = nodes.map((node) => new Set(readBy(node).map(({ id }) => valueOf(id))));
  const last = new Map<number, number>();
  readers.forEach((values, at) => {
    for (const id of values) last.set(id, at);
  });
  for (const { tensor } of graph.outputs) last.set(valueOf(tensor.id), nodes.length);
  const buffers: Buffer[] = [];
  const of = new Map<number, Buffer>();
  const free = new Map<string, Buffer[]>();
  const release = (kind: string, buffer: Buffer): void => {
    // Of a size that is not known beforehand: of use to none.
    if (kind.includes('-1')) return;
    const others = free.get(kind);
    if (others === undefined) free.set(kind, [buffer]);
    else others.push(buffer);
  };
  const kinds = new Map<number, string>();
  nodes.forEach((node, at) => {
    const dying = [...(readers[at] ?? [])].filter((id) => last.get(id) === at && of.has(id));
    const replaced = dying.find((id) => id === replacedBy(node, valueOf));
    let taken: number | undefined;
    for (const output of node.outputs) {
      if (valueOf(output.id) !== output.id) continue;
      const kind = kindOf(output);
      const bytes = bytesOf(output, grown);
      const place = replaced === undefined ? undefined : of.get(replaced);
      if (place?.bytes === bytes) taken = replaced;
      const given = place?.bytes === bytes ? place : free.get(kind)?.pop();
      const buffer = given ?? { bytes, from: at, to: at };
      if (given === undefined) buffers.push(buffer);
      buffer.to = Math.max(buffer.to, last.get(output.id) ?? at);
      of.set(output.id, buffer);
      kinds.set(output.id, kind);
      if (!last.has(output.id)) release(kind, buffer);
    }
    for (const id of dying) {
      const buffer = of.get(id);
      const kind = kinds.get(id);
      if (buffer !== undefined && kind !== undefined && id !== taken) release(kind, buffer);
    }
  });
  return buffers;
}

/** The value whose place a node's result takes, if that dies there. */
function replacedBy(node: Node, valueOf: (id: number) => number): number | undefined {
  const [input] = node.inputs;
  return REPLACES.has(node.op) && input !== undefined ? valueOf(input.id) : undefined;
}

/** The value that a tensor is: renamed ones are those they were, as are products times a constant. */
function namesOf(nodes: readonly Node[]): (id: number) => number {
  const same = new Map<number, number>();
  const products = new Set<number>();
  for (const { op, inputs, outputs } of nodes) {
    const [input, factor] = inputs;
    const [output] = outputs;
    if (input === undefined || output === undefined) continue;
    if (op === 'MatMul') products.add(output.id);
    const isScaled = op === 'Mul' && products.has(input.id) && factor?.shape.length === 0;
    if (RENAMES.has(op) || isScaled) same.set(output.id, same.get(input.id) ?? input.id);
  }
  return (id) => same.get(id) ?? id;
}

/** Buffers of one kind are of use to each other. */
function kindOf({ dtype, shape }: Tensor): string {
  return `${dtype} ${shape.join()}`;
}

function bytesOf({ dtype, shape }: Tensor, grown: number): number {
  return sizeOf(shape.map((d) => (d === -1 ? grown : d))) * elementBytes[dtype];
}

/** Bytes of what a loop carries from trip to trip. */
function carriedBytes({ op, inputs, outputs }: Node, grown: number): number {
  if (op !== 'Loop') return 0;
  // The first two inputs of a loop are its trips and whether to begin.
  return outputs
    .slice(0, inputs.length - 2)
    .reduce((sum, tensor) => sum + bytesOf(tensor, grown), 0);
}

function bodiesOf({ attributes }: Node): Graph[] {
  return Object.values(attributes).flatMap((a) => ('graph' in a ? [a.graph] : []));
}

/** Everything that a node reads, within its bodies too. */
function readBy(node: Node): Tensor[] {
  const own = node.inputs.filter((t): t is Tensor => t !== undefined);
  const bodies = bodiesOf(node);
  if (bodies.length === 0) return own;
  const inside = bodies.flatMap((body) => [
    ...body.nodes.flatMap(readBy),
    ...body.outputs.map(({ tensor }) => tensor),
  ]);
  return [...own, ...inside];
}
