/**
 * The noise schedule and the DDIM sampler's tables (Song et al. 2021; squaredcos_cap_v2 after
 * Nichol & Dhariwal 2021), in float64.
 */
export function alphasCumprod(trainSteps: number): Float64Array {
  const bar = (u: number): number => Math.cos((((u + 0.008) / 1.008) * Math.PI) / 2) ** 2;
  const out = new Float64Array(trainSteps);
  let product = 1;
  for (let i = 0; i < trainSteps; i++) {
    const beta = Math.min(1 - bar((i + 1) / trainSteps) / bar(i / trainSteps), 0.999);
    product *= 1 - beta;
    out[i] = product;
  }
  return out;
}

/** Columns of one row of the sampler's table. */
export const SAMPLER_COLUMNS = 5;

/**
 * One row a denoising step: t, √ā, √(1−ā), √ā_prev, √(1−ā_prev); leading spacing as diffusers has it.
 * @param steps 1 to `trainSteps`
 * @param rows rows of the table; those after `steps` are zero
 */
export function samplerTable(steps: number, trainSteps: number, rows = steps): Float32Array {
  if (!Number.isInteger(steps) || steps < 1 || steps > rows || rows > trainSteps) {
    throw new RangeError(`denoising steps must be 1 to ${rows}, got ${steps}`);
  }
  const bars = alphasCumprod(trainSteps);
  const ratio = Math.floor(trainSteps / steps);
  const out = new Float32Array(rows * SAMPLER_COLUMNS);
  for (let i = 0; i < steps; i++) {
    const t = (steps - 1 - i) * ratio;
    const bar = bars[t] as number;
    const before = t - ratio >= 0 ? (bars[t - ratio] as number) : 1;
    out.set(
      [t, Math.sqrt(bar), Math.sqrt(1 - bar), Math.sqrt(before), Math.sqrt(1 - before)],
      i * SAMPLER_COLUMNS,
    );
  }
  return out;
}
