/**
 * Mann and Whitney's rank-sum test, one-sided: how likely the values of `a` would stand at least so high
 * among all of them if they were drawn as those of `b` are. By the normal approximation with corrections for
 * continuity and ties, whose tail is the heavier one where few values are concerned. 1, without more ado,
 * where they stand less than a standard deviation higher.
 */
export function rankSum(a: readonly number[], b: readonly number[]): number {
  const [n, m] = [a.length, b.length];
  const all = [...a, ...b].sort((x, y) => x - y);
  const rankOf = new Map<number, number>();
  let ties = 0;
  for (let start = 0; start < all.length;) {
    const value = all[start] as number;
    let end = start;
    while (all[end] === value) end += 1;
    const size = end - start;
    ties += size ** 3 - size;
    rankOf.set(value, (start + 1 + end) / 2);
    start = end;
  }
  const ranks = a.reduce((sum, value) => sum + (rankOf.get(value) as number), 0);
  const u = ranks - (n * (n + 1)) / 2;
  const total = n + m;
  const variance = ((n * m) / 12) * (total + 1 - ties / (total * (total - 1)));
  if (!(variance > 0)) return 1;
  const z = (u - (n * m) / 2 - 0.5) / Math.sqrt(variance);
  return z < 1 ? 1 : upperTail(z);
}

/**
 * P(Z ≥ z) of a standard normal Z, z at least 1: Mills' ratio as a continued fraction (Abramowitz and Stegun
 * 26.2.14), from the innermost term outwards.
 */
function upperTail(z: number): number {
  let fraction = z;
  for (let k = 100; k >= 1; k -= 1) fraction = z + k / fraction;
  return Math.exp((-z * z) / 2) / (Math.sqrt(2 * Math.PI) * fraction);
}
