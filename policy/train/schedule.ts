/** Learning rate with a linear warm-up from 0 and a cosine fall to `floor` of the peak. */
export function learningRate(
  step: number,
  options: { peak: number; warmup: number; total: number; floor: number },
): number {
  const { peak, warmup, total, floor } = options;
  if (step < warmup) return (peak * step) / warmup;
  const progress = Math.min(1, (step - warmup) / Math.max(1, total - warmup));
  return peak * (floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * progress)));
}

/** Decay of the moving average: it follows closely at first and settles at `most`. */
export function emaDecay(step: number, most: number): number {
  return Math.min(most, (1 + step) / (10 + step));
}
