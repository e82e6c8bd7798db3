import { describe, expect, it } from 'vitest';
import { rankSum } from './rank-sum.ts';

/** The exact one-sided p: the share of all ways to choose a's ranks that add up to as much. */
function exact(a: readonly number[], b: readonly number[]): number {
  const all = [...a, ...b].sort((x, y) => x - y);
  const rank = (value: number): number => (all.indexOf(value) + 1 + all.lastIndexOf(value) + 1) / 2;
  const ranks = all.map(rank);
  const observed = a.reduce((sum, value) => sum + rank(value), 0);
  let [as, more] = [0, 0];
  for (let chosen = 0; chosen < 2 ** all.length; chosen += 1) {
    const picked = ranks.filter((_, i) => (chosen >> i) & 1);
    if (picked.length !== a.length) continue;
    as += 1;
    if (picked.reduce((sum, value) => sum + value, 0) >= observed - 1e-9) more += 1;
  }
  return more / as;
}

describe('rankSum', () => {
  it('is near the exact p, and not below it far out', () => {
    const sets = [
      [
        [5, 6, 7, 8, 9],
        [0, 1, 2, 3, 4],
      ],
      [
        [3, 6, 7, 8, 9],
        [0, 1, 2, 4, 5],
      ],
      [
        [4, 5, 7, 8, 9, 11],
        [0, 1, 2, 3, 6, 10],
      ],
      [
        [10, 11, 12, 13, 14, 15, 16],
        [0, 1, 2, 3, 4, 5, 6],
      ],
      [
        [3, 3, 4, 5, 5],
        [1, 2, 2, 3, 3, 3],
      ],
    ] as const;
    for (const [a, b] of sets) {
      const [p, wanted] = [rankSum(a, b), exact(a, b)];
      expect(Math.abs(p - wanted)).toBeLessThan(0.01);
      if (wanted < 0.005) expect(p).toBeGreaterThanOrEqual(wanted);
    }
  });

  it('has the tail of the normal distribution', () => {
    // Twenty above twenty: z = (400 - 200 - 0.5) / √(400 · 41 / 12) = 5.3965, of which R's pnorm gives 3.398e-8.
    const high = Array.from({ length: 20 }, (_, i) => i + 20);
    const low = Array.from({ length: 20 }, (_, i) => i);
    expect(rankSum(high, low)).toBeCloseTo(3.398e-8, 10);
    expect(rankSum(low, high)).toBe(1);
    expect(rankSum([1, 1, 1], [1, 1])).toBe(1);
  });
});
