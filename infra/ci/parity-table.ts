/** One comparison with a reference output, as a test hands it to the reporter. */
export interface ParityRow {
  /** Folder and part of the reference, e.g. `ops/attention`. */
  readonly fixture: string;
  /** What was compared, e.g. `gradients`; rows of one fixture and quantity are one line of the table. */
  readonly quantity: string;
  /** Which tensor of that quantity. */
  readonly detail: string;
  /** Largest absolute difference, or the number of elements that differ where they must be equal. */
  readonly error: number;
  readonly tolerance: number;
}

declare module 'vitest' {
  interface TaskMeta {
    parity?: ParityRow[];
  }
}

const HEADS = [
  'fixture',
  'quantity',
  'tensors',
  'max error',
  'nearest its tolerance',
  'its error',
  'tolerance',
];
/** Columns of figures, which end at one place. */
const FIGURES: ReadonlySet<number> = new Set([2, 3, 5, 6]);

/**
 * One line a fixture and quantity: how many tensors, the largest error of any, and the tensor that comes
 * nearest its own tolerance.
 */
export function parityTable(rows: readonly ParityRow[]): string {
  const groups = new Map<string, ParityRow[]>();
  for (const row of rows) {
    const key = `${row.fixture} ${row.quantity}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  const lines = [...groups.keys()].sort().map((key) => lineOf(groups.get(key) ?? []));
  const cells = [HEADS, ...lines];
  const widths = HEADS.map((_, i) => Math.max(...cells.map((line) => (line[i] ?? '').length)));
  return cells
    .map((line) =>
      line
        .map((cell, i) =>
          FIGURES.has(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function lineOf(rows: readonly ParityRow[]): string[] {
  const worst = rows.reduce((a, b) => (nearness(b) > nearness(a) ? b : a));
  return [
    worst.fixture,
    worst.quantity,
    String(rows.length),
    figure(Math.max(...rows.map(({ error }) => error))),
    worst.detail,
    figure(worst.error),
    figure(worst.tolerance),
  ];
}

/** Share of the tolerance that the error takes; an exact comparison takes none of it or all. */
function nearness({ error, tolerance }: ParityRow): number {
  if (error === 0) return 0;
  return tolerance === 0 ? Infinity : error / tolerance;
}

function figure(value: number): string {
  return value === 0 ? '0' : value.toExponential(1);
}
