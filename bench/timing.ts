import type { Figure } from './result.ts';

/** Milliseconds of each of `count` calls, after `warmup` calls that do not count. */
export async function timed(
  count: number,
  warmup: number,
  call: () => Promise<unknown>,
): Promise<number[]> {
  for (let i = 0; i < warmup; i++) await call();
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const started = performance.now();
    await call();
    times.push(performance.now() - started);
  }
  return times;
}

/** The value below which the share `q` of the values lies, by nearest rank. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  const value = sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
  if (value === undefined) throw new RangeError('there is no quantile of nothing');
  return value;
}

/** Median and 99th percentile as figures named `name p50` and `name p99`. */
export function latencyFigures(name: string, times: readonly number[]): Figure[] {
  return [
    { name: `${name} p50`, value: quantile(times, 0.5), unit: 'ms' },
    { name: `${name} p99`, value: quantile(times, 0.99), unit: 'ms' },
  ];
}
