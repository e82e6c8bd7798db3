import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs } from './backoff.ts';

const settings = fc.record({
  attempt: fc.integer({ min: 0, max: 60 }),
  baseMs: fc.integer({ min: 1, max: 1000 }),
  maxMs: fc.integer({ min: 1, max: 60_000 }),
});
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('the wait before a repeat', () => {
  it('is half to the whole of base · 2^attempt, at most the longest', () => {
    fc.assert(
      fc.property(settings, random, ({ attempt, ...backoff }, drawn) => {
        const whole = Math.min(backoff.maxMs, backoff.baseMs * 2 ** attempt);
        const wait = backoffMs(attempt, backoff, drawn);
        expect(wait).toBeGreaterThanOrEqual(whole / 2);
        // Of a draw just below 1 the sum is rounded to the whole.
        expect(wait).toBeLessThanOrEqual(whole);
      }),
    );
  });

  it('is spread evenly over that half, so that a fleet does not come back at once', () => {
    const waits = Array.from({ length: 1000 }, (_, i) =>
      backoffMs(3, { baseMs: 100, maxMs: 10_000 }, i / 1000),
    );
    for (const [from, to] of [
      [400, 500],
      [500, 600],
      [600, 700],
      [700, 800],
    ] as const) {
      expect(waits.filter((wait) => wait >= from && wait < to)).toHaveLength(250);
    }
  });
});
