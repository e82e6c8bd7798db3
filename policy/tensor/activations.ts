import { add, div, mul, sub } from './elementwise.ts';
import { composite, emit } from './emit.ts';
import type { Tensor } from './graph.ts';
import { greater, where } from './logic.ts';
import { erf, exp, sigmoid } from './unary.ts';

/** Activation functions; each gradient is written out with as few passes over memory as it takes. */

export function relu(x: Tensor): Tensor {
  const y: Tensor = emit('Relu', [x], { dtype: x.dtype, shape: x.shape }, {}, [
    (dy) => where(greater(y, 0), dy, 0),
  ]);
  return y;
}

/** x · sigmoid(x) */
export function silu(x: Tensor): Tensor {
  return swish(x, 1);
}

/** x · sigmoid(1.702 x) */
export function quickGelu(x: Tensor): Tensor {
  return swish(x, 1.702);
}

function swish(x: Tensor, beta: number): Tensor {
  const s = sigmoid(beta === 1 ? x : mul(x, beta));
  const y = mul(x, s);
  // (x s)' = s + β y (1 - s)
  return composite([x], y, (dy) => {
    const slope = mul(y, sub(1, s));
    return [mul(dy, add(s, beta === 1 ? slope : mul(slope, beta)))];
  });
}

/** Gaussian error linear unit, exact ('erf') or by the tanh approximation. */
export function gelu(x: Tensor, form: 'erf' | 'tanh'): Tensor {
  const approximate = { text: form === 'erf' ? 'none' : 'tanh' };
  const y = emit('Gelu', [x], { dtype: x.dtype, shape: x.shape }, { approximate });
  return composite([x], y, (dy) => [mul(dy, form === 'erf' ? slopeErf(x) : slopeTanh(x, y))]);
}

/** Φ(x) + x φ(x) */
function slopeErf(x: Tensor): Tensor {
  const cdf = mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5);
  const density = mul(exp(mul(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
  return add(cdf, mul(x, density));
}

/** With y = x σ(z), z = 2√(2/π)(x + 0.044715 x³): σ + y (1 - σ) z'. */
function slopeTanh(x: Tensor, y: Tensor): Tensor {
  const c = 2 * Math.sqrt(2 / Math.PI);
  const square = mul(x, x);
  const s = sigmoid(mul(x, add(mul(square, 0.044715 * c), c)));
  const inner = add(mul(square, 3 * 0.044715 * c), c);
  return add(s, mul(mul(y, sub(1, s)), inner));
}

/**
 * x · tanh(softplus(x)) (Misra 2019). With s = 1 - sigmoid(x), tanh(softplus(x)) = 2 / (1 + s²) - 1:
 * the runtime's Softplus takes several times as long as its sigmoid.
 */
export function mish(x: Tensor): Tensor {
  const rising = sigmoid(x);
  const s = sub(1, rising);
  const t = sub(div(2, add(mul(s, s), 1)), 1);
  return composite([x], mul(x, t), (dy) => {
    const slope = mul(mul(x, rising), sub(1, mul(t, t)));
    return [mul(dy, add(t, slope))];
  });
}
