/** A number for a tick or a cell: three significant digits, thousands as k. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (size >= 10_000) return `${trim((value / 1000).toPrecision(3))}k`;
  if (size >= 100 || Number.isInteger(value)) return String(Math.round(value));
  if (size > 0 && size < 0.0005) return value.toExponential(0);
  return trim(value.toPrecision(3));
}

/** An error value, always with three decimals. */
export function error3(value: number): string {
  return value.toFixed(3);
}

export function percent(share: number): string {
  return `${trim((share * 100).toFixed(1))} %`;
}

/** A span of time for people. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${trim(seconds.toFixed(1))} s`;
  const minutes = seconds / 60;
  return minutes < 90 ? `${trim(minutes.toFixed(1))} min` : `${trim((minutes / 60).toFixed(1))} h`;
}

export function bytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${trim(value.toPrecision(3))} ${units[unit] ?? 'B'}`;
}

function trim(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}
