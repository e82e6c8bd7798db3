import { filled, unbroadcast } from './broadcast.ts';
import { emit, graphOf, operands } from './emit.ts';
import type { Operand } from './emit.ts';
import { isFloat, onnxType } from './dtype.ts';
import type { DType } from './dtype.ts';
import type { Tensor } from './graph.ts';
import { broadcast } from './shapes.ts';

/** Comparisons, choices and type changes. Truth values are bool tensors; where one is read, any type will do. */

/** Elements converted to another type. Passes gradients between float types. */
export function cast(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return x;
  const rules =
    isFloat(x.dtype) && isFloat(dtype) ? [(dy: Tensor) => cast(dy, x.dtype)] : undefined;
  return emit('Cast', [x], { dtype, shape: x.shape }, { to: { int: onnxType[dtype] } }, rules);
}

/** x, through which no gradient passes. */
export function stopGradient(x: Tensor): Tensor {
  return emit('Identity', [x], { dtype: x.dtype, shape: x.shape });
}

function compare(op: string, onnx: string, a: Operand, b: Operand): Tensor {
  const [x, y] = operands(op, a, b);
  return emit(onnx, [x, y], { dtype: 'bool', shape: broadcast(op, x.shape, y.shape) });
}

export function equal(a: Operand, b: Operand): Tensor {
  return compare('equal', 'Equal', a, b);
}

export function less(a: Operand, b: Operand): Tensor {
  return compare('less', 'Less', a, b);
}

export function lessOrEqual(a: Operand, b: Operand): Tensor {
  return compare('lessOrEqual', 'LessOrEqual', a, b);
}

export function greater(a: Operand, b: Operand): Tensor {
  return compare('greater', 'Greater', a, b);
}

export function greaterOrEqual(a: Operand, b: Operand): Tensor {
  return compare('greaterOrEqual', 'GreaterOrEqual', a, b);
}

export function and(a: Tensor, b: Tensor): Tensor {
  return compare('and', 'And', cast(a, 'bool'), cast(b, 'bool'));
}

export function or(a: Tensor, b: Tensor): Tensor {
  return compare('or', 'Or', cast(a, 'bool'), cast(b, 'bool'));
}

export function not(a: Tensor): Tensor {
  return emit('Not', [cast(a, 'bool')], { dtype: 'bool', shape: a.shape });
}

/** a where the condition holds, else b; all three broadcast. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  const [x, y] =
    typeof a === 'number' && typeof b === 'number'
      ? [condition.graph.constant(a), condition.graph.constant(b)]
      : operands('where', a, b);
  const c = cast(condition, 'bool');
  const shape = broadcast('where', c.shape, x.shape, y.shape);
  return emit('Where', [c, x, y], { dtype: x.dtype, shape }, {}, [
    null,
    (dy) => unbroadcast(where(c, dy, 0), x.shape),
    (dy) => unbroadcast(where(c, 0, dy), y.shape),
  ]);
}

/** x held to [lo, hi]; the gradient is 0 outside. */
export function clamp(x: Tensor, lo: number, hi: number): Tensor {
  const graph = graphOf('clamp', [x]);
  const low = graph.constant(lo, [], x.dtype);
  const high = graph.constant(hi, [], x.dtype);
  return emit('Clip', [x, low, high], { dtype: x.dtype, shape: x.shape }, {}, [
    (dy) => where(and(greaterOrEqual(x, low), lessOrEqual(x, high)), dy, 0),
    null,
    null,
  ]);
}

/** The larger of two, element by element; where they are equal the gradient goes to the first. */
export function maximum(a: Operand, b: Operand): Tensor {
  const [x, y] = operands('maximum', a, b);
  return extreme('Max', x, y, () => greaterOrEqual(x, y));
}

/** The smaller of two, element by element; where they are equal the gradient goes to the first. */
export function minimum(a: Operand, b: Operand): Tensor {
  const [x, y] = operands('minimum', a, b);
  return extreme('Min', x, y, () => lessOrEqual(x, y));
}

function extreme(onnx: string, x: Tensor, y: Tensor, first: () => Tensor): Tensor {
  const shape = broadcast(onnx, x.shape, y.shape);
  return emit(onnx, [x, y], { dtype: x.dtype, shape }, {}, [
    (dy) => unbroadcast(where(first(), dy, 0), x.shape),
    (dy) => unbroadcast(where(first(), 0, dy), y.shape),
  ]);
}

/** Zeros like x. */
export function zerosLike(x: Tensor): Tensor {
  return filled(x.graph, 0, x.shape, x.dtype);
}
