/**
 * Learning rate with a linear warm-up from 0 and a cosine fall to `floor` of the peak.
 * @param elapsed share of the allowed time that is used, 0 to 1: training that its time ends, and not
 * its steps, falls as far
 */
export function learningRate(
  step: number,
  options: { peak: number; warmup: number; total: number; floor: number },
  elapsed = 0,
): number {
  const { peak, warmup, total, floor } = options;
  if (step < warmup) return (peak * step) / warmup;
  const bySteps = (step - warmup) / Math.max(1, total - warmup);
  const progress = Math.min(1, Math.max(bySteps, elapsed));
  return peak * (floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * progress)));
}

/** Decay of the moving average: it follows closely at first and settles at `most`. */
export function emaDecay(step: number, most: number): number {
  return Math.min(most, (1 + step) / (10 + step));
}
