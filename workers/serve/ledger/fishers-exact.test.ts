import fc from 'fast-check';
import { expect, it } from 'vitest';
import { fishersExact } from './fishers-exact.ts';

/** C(n, k) in whole numbers. */
function choose(n: bigint, k: bigint): bigint {
  if (k < 0n || k > n) return 0n;
  let result = 1n;
  for (let i = 1n; i <= k; i += 1n) result = (result * (n - k + i)) / i;
  return result;
}

/** The same probability as a fraction of whole numbers. */
function exactly(a: number, n: number, c: number, m: number): number {
  const [failures, successes, drawn] = [a + c, n + m - a - c, n].map(BigInt) as [
    bigint,
    bigint,
    bigint,
  ];
  let tail = 0n;
  for (let x = BigInt(a); x <= drawn; x += 1n) {
    tail += choose(failures, x) * choose(successes, drawn - x);
  }
  const all = choose(failures + successes, drawn);
  return Number((tail * 10n ** 30n) / all) / 1e30;
}

it('is the sum over whole numbers', () => {
  const trials = fc.integer({ min: 1, max: 150 });
  fc.assert(
    fc.property(trials, trials, fc.nat(), fc.nat(), (n, m, i, j) => {
      const [a, c] = [i % (n + 1), j % (m + 1)];
      const got = fishersExact({ failures: a, trials: n }, { failures: c, trials: m });
      if (a * m <= c * n) expect(got).toBe(1);
      else expect(Math.abs(got - exactly(a, n, c, m))).toBeLessThanOrEqual(1e-9 * got + 1e-29);
    }),
    { numRuns: 300 },
  );
});

it('gives what is published', () => {
  // Fisher's lady who tasted three of four cups right: 17/70.
  expect(fishersExact({ failures: 3, trials: 4 }, { failures: 1, trials: 4 })).toBeCloseTo(
    17 / 70,
    12,
  );
  // SciPy's manual: fisher_exact([[6, 2], [1, 4]], alternative='greater').
  expect(fishersExact({ failures: 6, trials: 8 }, { failures: 1, trials: 5 })).toBeCloseTo(
    0.08624708624708627,
    12,
  );
});

it('stays a number for millions of trials', () => {
  const canary = { failures: 1000, trials: 1_000_000 };
  const p = fishersExact(canary, { failures: 9000, trials: 10_000_000 });
  // A normal distribution says 0.00085 (3.14 standard deviations, corrected for whole numbers).
  expect(p).toBeGreaterThan(0.0005);
  expect(p).toBeLessThan(0.0015);
  expect(fishersExact({ failures: 1e6, trials: 1e6 }, { failures: 0, trials: 1e6 })).toBe(0);
});
