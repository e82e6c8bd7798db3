/** Conversions between float32 numbers and IEEE half precision or bfloat16 bits. */

const word = new Uint32Array(1);
const real = new Float32Array(word.buffer);

/** Half-precision bits of a number, rounded to nearest even; too large becomes infinity. */
export function toHalf(value: number): number {
  real[0] = value;
  const bits = word[0] ?? 0;
  const sign = (bits >>> 16) & 0x8000;
  const exponent = (bits >>> 23) & 0xff;
  const mantissa = bits & 0x7fffff;
  if (exponent === 0xff) return sign | 0x7c00 | (mantissa === 0 ? 0 : 0x200);
  const e = exponent - 112;
  if (e >= 31) return sign | 0x7c00;
  if (e <= 0) {
    if (e < -10) return sign;
    const full = mantissa | 0x800000;
    const shift = 14 - e;
    const half = full >>> shift;
    const rest = full & ((1 << shift) - 1);
    const middle = 1 << (shift - 1);
    return sign | (half + (rest > middle || (rest === middle && (half & 1) === 1) ? 1 : 0));
  }
  const half = (e << 10) | (mantissa >>> 13);
  const rest = mantissa & 0x1fff;
  return sign | (half + (rest > 0x1000 || (rest === 0x1000 && (half & 1) === 1) ? 1 : 0));
}

/** The number that half-precision bits stand for. */
export function fromHalf(bits: number): number {
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0) return ((bits & 0x8000) === 0 ? 1 : -1) * mantissa * 2 ** -24;
  const widened = exponent === 0x1f ? 0xff : exponent + 112;
  word[0] = (((bits & 0x8000) << 16) | (widened << 23) | (mantissa << 13)) >>> 0;
  return real[0] ?? 0;
}

/** bfloat16 bits of a number, rounded to nearest even. */
export function toBfloat(value: number): number {
  real[0] = value;
  const bits = word[0] ?? 0;
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** The number that bfloat16 bits stand for. */
export function fromBfloat(bits: number): number {
  word[0] = (bits << 16) >>> 0;
  return real[0] ?? 0;
}
