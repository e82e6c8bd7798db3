/** What beginning a run costs, in rows: `nano` takes about 10 ms a run and 5 ms a row on two cores. */
const RUN_COST = 2;

/**
 * How many of the rows that wait the next run should take. The model has graphs for a few batch sizes,
 * and a run of 19 rows in the graph for 32 costs nearly what 32 do: where a full smaller graph now and
 * another run at once for the rest cost less together, the rest goes second.
 * @param sizes batch sizes, ascending, the first of them 1.
 * @returns 1 to `waiting`, at most the largest size.
 */
export function runSize(sizes: readonly number[], waiting: number): number {
  const largest = sizes.at(-1);
  if (largest === undefined || waiting < 1) {
    throw new RangeError(`no run of ${waiting} rows in ${sizes.length} sizes`);
  }
  if (waiting >= largest) return largest;
  const smaller = sizes.findLast((size) => size <= waiting);
  if (smaller === undefined) return waiting;
  const apart = costOf(sizes, smaller) + costOf(sizes, waiting - smaller);
  return apart < costOf(sizes, waiting) ? smaller : waiting;
}

/** Cost of one run of so many rows, at most the largest size, in rows. */
export function costOf(sizes: readonly number[], rows: number): number {
  if (rows === 0) return 0;
  const size = sizes.find((one) => one >= rows);
  if (size === undefined) throw new RangeError(`no graph holds ${rows} rows`);
  return RUN_COST + size;
}
