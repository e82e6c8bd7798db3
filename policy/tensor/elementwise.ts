import { unbroadcast } from './broadcast.ts';
import { emit, operands } from './emit.ts';
import type { Operand } from './emit.ts';
import type { Tensor } from './graph.ts';
import { broadcast } from './shapes.ts';
import { neg, reciprocalSquare } from './unary.ts';

/** Arithmetic on two operands, with numpy's broadcasting; one of them may be a number. */

export function add(a: Operand, b: Operand): Tensor {
  const [x, y] = operands('add', a, b);
  return emit('Add', [x, y], result('add', x, y), {}, [
    (d) => unbroadcast(d, x.shape),
    (d) => unbroadcast(d, y.shape),
  ]);
}

export function sub(a: Operand, b: Operand): Tensor {
  const [x, y] = operands('sub', a, b);
  return emit('Sub', [x, y], result('sub', x, y), {}, [
    (d) => unbroadcast(d, x.shape),
    (d) => neg(unbroadcast(d, y.shape)),
  ]);
}

export function mul(a: Operand, b: Operand): Tensor {
  const [x, y] = operands('mul', a, b);
  return emit('Mul', [x, y], result('mul', x, y), {}, [
    (d) => unbroadcast(mul(d, y), x.shape),
    (d) => unbroadcast(mul(d, x), y.shape),
  ]);
}

/** a / b; for whole numbers it truncates towards zero. */
export function div(a: Operand, b: Operand): Tensor {
  const [x, y] = operands('div', a, b);
  return emit('Div', [x, y], result('div', x, y), {}, [
    (d) => unbroadcast(div(d, y), x.shape),
    (d) => unbroadcast(neg(mul(mul(d, x), reciprocalSquare(y))), y.shape),
  ]);
}

function result(op: string, x: Tensor, y: Tensor): { dtype: Tensor['dtype']; shape: number[] } {
  return { dtype: x.dtype, shape: broadcast(op, x.shape, y.shape) };
}
