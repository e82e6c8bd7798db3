import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { costOf, runSize } from './run-size.ts';

const SIZES = [1, 2, 4, 8, 16, 32];
const sizes = fc
  .uniqueArray(fc.integer({ min: 2, max: 64 }), { maxLength: 6 })
  .map((more) => [1, ...more.sort((a, b) => a - b)]);

describe('the rows of a run', () => {
  it.each([
    [1, 1],
    [3, 3],
    [7, 7],
    [9, 8],
    [13, 13],
    [16, 16],
    [19, 16],
    [31, 31],
    [32, 32],
    [50, 32],
  ])('of %i that wait are %i', (waiting, taken) => {
    expect(runSize(SIZES, waiting)).toBe(taken);
  });

  it('are some, no more than wait and no more than a graph holds', () => {
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 100 }), (all, waiting) => {
        const taken = runSize(all, waiting);
        expect(taken).toBeGreaterThanOrEqual(1);
        expect(taken).toBeLessThanOrEqual(Math.min(waiting, all.at(-1) ?? 0));
      }),
    );
  });

  it('never cost more than all that wait at once, however often the rest is divided', () => {
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 64 }), (all, waiting) => {
        fc.pre(waiting <= (all.at(-1) ?? 0));
        let cost = 0;
        for (let left = waiting; left > 0;) {
          const taken = runSize(all, left);
          cost += costOf(all, taken);
          left -= taken;
        }
        expect(cost).toBeLessThanOrEqual(costOf(all, waiting));
      }),
    );
  });

  it('of none there is no run', () => {
    expect(() => runSize(SIZES, 0)).toThrow(RangeError);
    expect(() => runSize([], 3)).toThrow(RangeError);
  });
});
