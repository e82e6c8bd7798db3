import { describe, expect, it } from 'vitest';
import { bootstrapInterval } from './bootstrap.ts';
import { solvePositiveDefinite } from './cholesky.ts';
import { mixSeed, uniform } from './random.ts';

describe('bootstrapInterval', () => {
  const pool = (squared: number, count: number): { squared: number; count: number } => ({
    squared,
    count,
  });

  it('is the range of two episodes, each drawn twice in a quarter of the resamples', () => {
    expect(bootstrapInterval([pool(2, 2), pool(12, 4)], 0)).toEqual([1, 3]);
  });

  it('agrees with the normal approximation where episodes are many', () => {
    const next = uniform(5);
    const episodes = Array.from({ length: 400 }, () => pool(next() * 10, 10));
    const means = episodes.map((e) => e.squared / e.count);
    const mean = means.reduce((a, b) => a + b, 0) / means.length;
    const variance = means.reduce((sum, m) => sum + (m - mean) ** 2, 0) / means.length;
    const half = 1.96 * Math.sqrt(variance / means.length);
    const [low, high] = bootstrapInterval(episodes, 1);
    expect(low / (mean - half)).toBeCloseTo(1, 1);
    expect(high / (mean + half)).toBeCloseTo(1, 1);
  });

  it('pairs the episodes of a difference, so that what both share cancels', () => {
    const a = [pool(1, 2), pool(50, 2), pool(7, 2)];
    const b = a.map((e) => pool(e.squared + 1, e.count));
    const [low, high] = bootstrapInterval(b, 7, a);
    expect(low).toBeCloseTo(0.5, 12);
    expect(high).toBeCloseTo(0.5, 12);
  });

  it('is the same for the same seed and a point for one episode', () => {
    const episodes = [pool(1, 1), pool(2, 1), pool(5, 1)];
    expect(bootstrapInterval(episodes, 3)).toEqual(bootstrapInterval(episodes, 3));
    expect(bootstrapInterval([pool(6, 3)], 3)).toEqual([2, 2]);
  });
});

describe('solvePositiveDefinite', () => {
  it('gives X with A·X = B', () => {
    const n = 5;
    const m = 3;
    const next = uniform(11);
    const root = Array.from({ length: n * n }, next);
    const a = Float64Array.from({ length: n * n }, (_, cell) => {
      const i = Math.floor(cell / n);
      const j = cell % n;
      let sum = i === j ? 0.1 : 0;
      for (let k = 0; k < n; k++) sum += (root[i * n + k] ?? NaN) * (root[j * n + k] ?? NaN);
      return sum;
    });
    const b = Float64Array.from({ length: n * m }, next);
    const x = b.slice();
    solvePositiveDefinite(a.slice(), x, n, m);
    for (let i = 0; i < n; i++) {
      for (let c = 0; c < m; c++) {
        let sum = 0;
        for (let k = 0; k < n; k++) sum += (a[i * n + k] ?? NaN) * (x[k * m + c] ?? NaN);
        expect(sum).toBeCloseTo(b[i * m + c] ?? NaN, 10);
      }
    }
  });

  it('refuses a matrix that is not positive definite', () => {
    expect(() => {
      solvePositiveDefinite(Float64Array.of(1, 2, 2, 1), Float64Array.of(1, 1), 2, 1);
    }).toThrow('pivot 1');
  });
});

describe('mixSeed', () => {
  it('gives no two frames and samples of a set the same seed', () => {
    const seeds = new Set<number>();
    for (let episode = 0; episode < 20; episode++) {
      for (let t = 0; t < 400; t++) {
        for (let k = 0; k < 8; k++) seeds.add(mixSeed(0, episode, t, k));
      }
    }
    // 64,000 of 2^32: half a collision is expected.
    expect(seeds.size).toBeGreaterThan(64_000 - 8);
  });
});
