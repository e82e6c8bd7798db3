import { expect, TestRunner } from 'vitest';
import type { ParityRow } from '../../infra/ci/parity-table.ts';
import { readSafetensors, type SafeTensor } from '../../policy/checkpoint/index.ts';
import { readFixture } from './fixtures.ts';

/** Numbers with a shape, as the engine gives them and as the reference files hold them. */
export interface Numbers {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number | bigint>;
}

/** The tensors of a reference file; a name that it lacks is an error. */
export interface Reference {
  readonly tensors: ReadonlyMap<string, SafeTensor>;
  at(name: string): SafeTensor;
}

export async function readReference(...parts: readonly string[]): Promise<Reference> {
  const { tensors } = readSafetensors(await readFixture(...parts));
  return {
    tensors,
    at(name) {
      const tensor = tensors.get(name);
      if (tensor === undefined) throw new RangeError(`${parts.join('/')} has no ${name}`);
      return tensor;
    },
  };
}

/** The number under `name` in a reference's table of tolerances. */
export function toleranceOf(table: Readonly<Record<string, number>>, name: string): number {
  const tolerance = table[name];
  if (tolerance === undefined) throw new RangeError(`the reference states no tolerance of ${name}`);
  return tolerance;
}

/** Records a comparison in the run's table and fails the test if the error passes the tolerance. */
export function hold(row: ParityRow): void {
  const test = TestRunner.getCurrentTest();
  if (test === undefined) throw new Error('a comparison belongs inside a test');
  test.meta.parity = [...(test.meta.parity ?? []), row];
  expect(row.error, `${row.fixture} ${row.detail}`).toBeLessThanOrEqual(row.tolerance);
}

/**
 * Holds `got` to `want`: same shape, and no element further away than the tolerance.
 * @param keep which elements count (by index); all when absent
 */
export function holdClose(
  label: { readonly fixture: string; readonly quantity: string; readonly detail: string },
  got: Numbers | undefined,
  want: Numbers,
  tolerance: number,
  keep?: (index: number) => boolean,
): void {
  if (got === undefined) throw new RangeError(`nothing to compare with ${label.detail}`);
  expect(got.shape, label.detail).toEqual(want.shape);
  hold({ ...label, error: largestDifference(got.data, want.data, keep), tolerance });
}

/** Holds a list to another, element by element and to the same length; counts those that differ. */
export function holdEqual(
  label: { readonly fixture: string; readonly quantity: string; readonly detail: string },
  got: ArrayLike<unknown>,
  want: ArrayLike<unknown>,
): void {
  const longer = Math.max(got.length, want.length);
  const error = Array.from({ length: longer }, (_, i) => i).filter(
    (i) => got[i] !== want[i],
  ).length;
  hold({ ...label, error, tolerance: 0 });
}

/** Infinity where a number is missing or not finite. */
export function largestDifference(
  got: ArrayLike<number | bigint>,
  want: ArrayLike<number | bigint>,
  keep: (index: number) => boolean = () => true,
): number {
  if (got.length !== want.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < want.length; i += 1) {
    if (!keep(i)) continue;
    const difference = Math.abs(Number(got[i]) - Number(want[i]));
    worst = Number.isFinite(difference) ? Math.max(worst, difference) : Infinity;
  }
  return worst;
}
