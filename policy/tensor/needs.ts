import type { Graph } from './graph.ts';

/** Ids of the tensors that the outputs depend on, bodies of loops included. */
export function needs(graph: Graph): ReadonlySet<number> {
  const found = new Set<number>();
  mark(graph, found);
  return found;
}

function mark(graph: Graph, found: Set<number>): void {
  for (const o of graph.outputs) found.add(o.tensor.id);
  for (const node of [...graph.nodes].reverse()) {
    if (!node.outputs.some((t) => found.has(t.id))) continue;
    for (const t of node.inputs) if (t !== undefined) found.add(t.id);
    for (const a of Object.values(node.attributes)) if ('graph' in a) mark(a.graph, found);
  }
}
