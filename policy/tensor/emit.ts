import { ShapeError } from './errors.ts';
import type { Attribute, Gradient, Graph, OutputSpec, Tensor, Vjp } from './graph.ts';

/** Helpers with which operations append nodes. */

export type Operand = Tensor | number;

/** The innermost of the tensors' graphs; throws if they do not belong together. */
export function graphOf(op: string, tensors: readonly (Tensor | undefined)[]): Graph {
  let inner: Graph | undefined;
  for (const t of tensors) {
    if (t === undefined) continue;
    if (inner === undefined) inner = t.graph;
    else if (inner.root !== t.graph.root) throw new ShapeError(op, 'operands of different graphs');
    else if (t.graph.depth > inner.depth) inner = t.graph;
  }
  if (inner === undefined) throw new ShapeError(op, 'no tensor among the operands');
  return inner;
}

/** Gradients input by input, each made only when wanted; null for an input without one. */
export type PerInput = readonly (((dy: Tensor) => Gradient) | null)[];

function vjpOf(rules: PerInput): Vjp {
  return ([dy], needed) =>
    rules.map((rule, i) =>
      rule === null || dy === undefined || needed[i] !== true ? undefined : rule(dy),
    );
}

/** Appends a node with one output. Without rules it blocks gradients. */
export function emit(
  op: string,
  inputs: readonly (Tensor | undefined)[],
  output: OutputSpec,
  attributes: Readonly<Record<string, Attribute>> = {},
  rules?: PerInput,
  domain = '',
): Tensor {
  const graph = graphOf(op, inputs);
  const vjp = rules === undefined ? undefined : vjpOf(rules);
  const [result] = graph.node(op, inputs, [output], attributes, vjp, domain);
  if (result === undefined) throw new ShapeError(op, 'no output');
  return result;
}

/** Declares the gradient of `result`, built of several nodes, in terms of `inputs`. */
export function composite(
  inputs: readonly Tensor[],
  result: Tensor,
  vjp: (dy: Tensor, needed: readonly boolean[]) => readonly (Gradient | undefined)[],
): Tensor {
  result.graph.setOrigin({
    inputs,
    outputs: [result],
    vjp: ([dy], needed) => (dy === undefined ? inputs.map(() => undefined) : vjp(dy, needed)),
  });
  return result;
}

/** Two operands as tensors of one type; a number takes the other's type. */
export function operands(op: string, a: Operand, b: Operand): readonly [Tensor, Tensor] {
  if (typeof a === 'number') {
    if (typeof b === 'number') throw new ShapeError(op, 'one operand must be a tensor');
    return [b.graph.constant(a, [], b.dtype), b];
  }
  if (typeof b === 'number') return [a, a.graph.constant(b, [], a.dtype)];
  if (a.dtype !== b.dtype) {
    throw new ShapeError(op, `operands of types ${a.dtype} and ${b.dtype}`, [a.shape, b.shape]);
  }
  return [a, b];
}

/** An int64 vector, as ONNX takes shapes, axes and the like. */
export function indices(graph: Graph, values: readonly number[]): Tensor {
  return graph.constant(values, [values.length], 'int64');
}
