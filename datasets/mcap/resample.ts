/** Points in time at an even rate: `startNs` and `length` steps of 1/fps after it. */
export interface Grid {
  readonly startNs: bigint;
  readonly length: number;
  readonly fps: number;
}

/** The grid on which every one of the spans has a value: from the last start to the first end. */
export function commonGrid(
  spans: readonly { readonly first: bigint; readonly last: bigint }[],
  fps: number,
): Grid {
  const start = spans.reduce((latest, { first }) => (first > latest ? first : latest), 0n);
  const end = spans.reduce((first, { last }) => (last < first ? last : first), start + (1n << 62n));
  const seconds = Number(end - start) / 1e9;
  // A hundredth of a step forgives the rounding of the clock at the last point.
  const length = seconds < 0 ? 0 : Math.floor(seconds * fps + 0.01) + 1;
  return { startNs: start, length, fps };
}

/**
 * For each point of the grid the newest value up to half a step after it: messages that come at the
 * grid's own rate are taken once each, however unevenly they arrive within their step.
 */
export async function* holdLatest<T>(
  values: AsyncIterable<{ readonly logTime: bigint; readonly value: T }>,
  grid: Grid,
): AsyncGenerator<{ t: number; value: T }> {
  const due = (t: number): bigint =>
    grid.startNs + BigInt(Math.round(((t + 0.5) / grid.fps) * 1e9));
  let t = 0;
  let held: { value: T } | null = null;
  for await (const { logTime, value } of values) {
    while (held !== null && t < grid.length && logTime >= due(t)) {
      yield { t, value: held.value };
      t += 1;
    }
    if (t === grid.length) return;
    held = { value };
  }
  for (; held !== null && t < grid.length; t += 1) yield { t, value: held.value };
}
