import { div, mul, sub } from './elementwise.ts';
import { emit } from './emit.ts';
import type { Tensor } from './graph.ts';

/** Functions of one argument, element by element. */

function unary(op: string, x: Tensor, rule: (dy: Tensor, y: Tensor) => Tensor): Tensor {
  const y: Tensor = emit(op, [x], { dtype: x.dtype, shape: x.shape }, {}, [(dy) => rule(dy, y)]);
  return y;
}

export function neg(x: Tensor): Tensor {
  return unary('Neg', x, (dy) => neg(dy));
}

export function exp(x: Tensor): Tensor {
  return unary('Exp', x, (dy, y) => mul(dy, y));
}

/** Natural logarithm. */
export function log(x: Tensor): Tensor {
  return unary('Log', x, (dy) => div(dy, x));
}

export function sqrt(x: Tensor): Tensor {
  return unary('Sqrt', x, (dy, y) => div(mul(dy, 0.5), y));
}

/** 1 / √x */
export function rsqrt(x: Tensor): Tensor {
  return reciprocal(sqrt(x));
}

/** 1 / x */
export function reciprocal(x: Tensor): Tensor {
  return unary('Reciprocal', x, (dy, y) => neg(mul(dy, mul(y, y))));
}

/** 1 / x², for gradients of quotients. */
export function reciprocalSquare(x: Tensor): Tensor {
  return reciprocal(mul(x, x));
}

/** |x|; the gradient at 0 is 0. */
export function abs(x: Tensor): Tensor {
  return unary('Abs', x, (dy) => mul(dy, emit('Sign', [x], { dtype: x.dtype, shape: x.shape })));
}

/** x to a fixed power. */
export function pow(x: Tensor, power: number): Tensor {
  if (power === 2) return mul(x, x);
  const exponent = x.graph.constant(power, [], x.dtype);
  return emit('Pow', [x, exponent], { dtype: x.dtype, shape: x.shape }, {}, [
    (dy) => mul(dy, mul(pow(x, power - 1), power)),
    null,
  ]);
}

export function sin(x: Tensor): Tensor {
  return unary('Sin', x, (dy) => mul(dy, cos(x)));
}

export function cos(x: Tensor): Tensor {
  return unary('Cos', x, (dy) => neg(mul(dy, sin(x))));
}

/** The error function. */
export function erf(x: Tensor): Tensor {
  return unary('Erf', x, (dy) => mul(dy, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI))));
}

export function tanh(x: Tensor): Tensor {
  return unary('Tanh', x, (dy, y) => mul(dy, sub(1, mul(y, y))));
}

/** 1 / (1 + e^-x) */
export function sigmoid(x: Tensor): Tensor {
  return unary('Sigmoid', x, (dy, y) => mul(dy, mul(y, sub(1, y))));
}

/** log(1 + e^x), without overflow. */
export function softplus(x: Tensor): Tensor {
  return unary('Softplus', x, (dy) => mul(dy, sigmoid(x)));
}
