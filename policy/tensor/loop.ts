import { ShapeError, GradientError } from './errors.ts';
import { Graph } from './graph.ts';
import type { OutputSpec, Tensor } from './graph.ts';
import { cast } from './logic.ts';
import { dim, sameShape } from './shapes.ts';

/** Repetition inside the graph (ONNX Loop): for decoding and sampling. It has no gradient. */

export interface LoopStep {
  /** The carried tensors for the next trip, in order. */
  readonly carried: readonly Tensor[];
  /** Results of this trip, stacked over the trips. */
  readonly scan?: readonly Tensor[];
  /** Scalar truth value: no further trip. */
  readonly stop?: Tensor;
}

export interface LoopOptions {
  /** How many trips at most: a number or an int64 scalar. */
  readonly trips: number | Tensor;
  readonly carried: readonly Tensor[];
  /** Axis along which carried tensor i grows or shrinks (by concat, say): its size is -1 in the body. */
  readonly grows?: Readonly<Record<number, number>>;
  /** One trip. `i` is the trip's number (int64 scalar). Tensors of surrounding graphs may be used. */
  body(graph: Graph, i: Tensor, carried: readonly Tensor[]): LoopStep;
}

export interface LoopResult {
  readonly carried: readonly Tensor[];
  /** [trips, …]; the first axis is -1 where the number of trips is not known beforehand. */
  readonly scan: readonly Tensor[];
}

/** Runs the body `trips` times. Throws ShapeError if a carried tensor changes its shape or type. */
export function loop(graph: Graph, options: LoopOptions): LoopResult {
  const body = new Graph('body', graph);
  const specs = options.carried.map((t, i) => carriedSpec(t, options.grows?.[i]));
  const counter = body.input(body.unique('trip'), 'int64', []);
  body.input(body.unique('go'), 'bool', []);
  const inside = specs.map((s) => body.input(body.unique('carried'), s.dtype, s.shape));
  const step = options.body(body, counter, inside);
  checkCarried(step.carried, specs);
  body.output(body.unique('go'), goesOn(body, step.stop));
  const scan = step.scan ?? [];
  for (const t of [...step.carried, ...scan]) body.output(body.unique('next'), t);

  const fixed = typeof options.trips === 'number' && step.stop === undefined;
  const length = fixed && typeof options.trips === 'number' ? options.trips : -1;
  const trips =
    typeof options.trips === 'number' ? graph.constant(options.trips, [], 'int64') : options.trips;
  const inputs = [trips, graph.constant(1, [], 'bool'), ...options.carried];
  const stacked = scan.map((t) => ({ dtype: t.dtype, shape: [length, ...t.shape] }));
  const results = graph.node('Loop', inputs, [...specs, ...stacked], { body: { graph: body } });
  graph.setOrigin({
    inputs: [...options.carried, ...captured(body)],
    outputs: results,
    vjp: () => {
      throw new GradientError('a loop has no gradient');
    },
  });
  return { carried: results.slice(0, specs.length), scan: results.slice(specs.length) };
}

function carriedSpec(t: Tensor, axis: number | undefined): OutputSpec {
  if (axis !== undefined) dim(t.shape, axis);
  return { dtype: t.dtype, shape: t.shape.map((d, i) => (i === axis ? -1 : d)) };
}

function checkCarried(next: readonly Tensor[], specs: readonly OutputSpec[]): void {
  if (next.length !== specs.length) {
    throw new ShapeError('loop', `${specs.length} carried tensors, ${next.length} came back`);
  }
  next.forEach((t, i) => {
    const spec = specs[i];
    if (spec === undefined || spec.dtype !== t.dtype || !sameShape(spec.shape, t.shape)) {
      throw new ShapeError('loop', `carried tensor ${i} changes its shape or type`, [
        spec?.shape ?? [],
        t.shape,
      ]);
    }
  });
}

function goesOn(body: Graph, stop: Tensor | undefined): Tensor {
  if (stop === undefined) return body.constant(1, [], 'bool');
  const [go] = body.node('Not', [cast(stop, 'bool')], [{ dtype: 'bool', shape: [] }]);
  if (go === undefined) throw new ShapeError('loop', 'no output');
  return go;
}

/** Tensors of surrounding graphs that the body reads. */
function captured(body: Graph): Tensor[] {
  const outer = new Map<number, Tensor>();
  const inner = new Set<Graph>([body]);
  const visit = (graph: Graph): void => {
    inner.add(graph);
    const read = [...graph.nodes.flatMap((n) => n.inputs), ...graph.outputs.map((o) => o.tensor)];
    for (const node of graph.nodes) {
      for (const a of Object.values(node.attributes)) if ('graph' in a) visit(a.graph);
    }
    for (const t of read) if (t !== undefined && !inner.has(t.graph)) outer.set(t.id, t);
  };
  visit(body);
  return [...outer.values()];
}
