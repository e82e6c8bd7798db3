import type { LoraConfig } from './adapter.ts';

/**
 * A frozen weight with an adapter's part added: W + scaling·B·A, so that serving one tenant costs nothing.
 * @param weight [out, in]
 * @param a [r, in]
 * @param b [out, r]
 * @throws RangeError when the sizes do not fit.
 */
export function mergeLora(
  config: LoraConfig,
  weight: Float32Array,
  a: Float32Array,
  b: Float32Array,
): Float32Array {
  const { rank, scaling } = config;
  const [inner, out] = [a.length / rank, b.length / rank];
  if (weight.length !== inner * out) {
    throw new RangeError(`a weight of ${weight.length} elements is not [${out}, ${inner}]`);
  }
  return weight.map((value, i) => {
    const [row, column] = [Math.floor(i / inner), i % inner];
    let sum = 0;
    for (let k = 0; k < rank; k += 1) {
      sum += (b[row * rank + k] ?? NaN) * (a[k * inner + column] ?? NaN);
    }
    return value + scaling * sum;
  });
}
