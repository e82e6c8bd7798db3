/** How much each action of a new chunk is held to the previous one, as numbers. */
export type PrefixSchedule = 'zeros' | 'ones' | 'linear' | 'exp';

/**
 * Weights f32 [total]: 1 for the first `start` actions, which will have been executed, then by schedule
 * down to 0 at `end`. `zeros` has none behind `start`, `ones` holds all before `end`; `exp` bends the
 * line, c·(e^c − 1)/(e − 1), as the paper does. `start` beyond `end` counts as `end`; what lies beyond
 * `total` is cut, so that the ramp ends with the chunk.
 */
export function prefixWeights(
  schedule: PrefixSchedule,
  start: number,
  end: number,
  total: number,
): Float32Array {
  const hard = Math.min(start, end);
  const last = Math.min(end, total);
  const ramp = last - hard;
  return Float32Array.from({ length: total }, (_, i) => {
    if (i < hard) return 1;
    if (i >= last || schedule === 'zeros') return 0;
    if (schedule === 'ones') return 1;
    const c = 1 - (i - hard + 1) / (ramp + 1);
    return schedule === 'linear' ? c : (c * Math.expm1(c)) / (Math.E - 1);
  });
}

/**
 * Factor of the correction at flow time `time` (1: noise, 0: data), at most `most`:
 * (1 − τ)/τ · ((1 − τ)² + τ²)/(1 − τ)² with τ = 1 − time; `most` at τ = 0, where it is infinite.
 */
export function guidanceWeight(time: number, most: number): number {
  const tau = 1 - time;
  if (tau === 0) return most;
  const rest = (1 - tau) ** 2;
  const weight = ((1 - tau) / tau) * ((rest + tau ** 2) / rest);
  return Math.min(Number.isNaN(weight) ? 0 : weight, most);
}

/** 1 for the first `delays[b]` actions of row b: f32 [B, total]. */
export function prefixMask(delays: readonly number[], total: number): Float32Array {
  const out = new Float32Array(delays.length * total);
  delays.forEach((delay, row) => {
    out.fill(1, row * total, row * total + Math.min(delay, total));
  });
  return out;
}
