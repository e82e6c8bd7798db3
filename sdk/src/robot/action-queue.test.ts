import { describe, expect, it } from 'vitest';
import type { arm } from '../testing/two-joint-arm.ts';
import { ActionQueue, type Aggregate } from './action-queue.ts';
import type { Chunk } from './chunk.ts';

type Arm = typeof arm;

/** Eight steps whose shoulder counts up from `base`. */
const chunk = (chunkId: string, base: number) =>
  ({
    chunkId,
    rows: Array.from({ length: 8 }, (_, i) => ({ shoulder: base + i, gripper: base })),
  }) as Pick<Chunk<Arm>, 'chunkId' | 'rows'> as Chunk<Arm>;

/** Three steps of one chunk, then all of another that was seen after the first step. */
function takeOver(aggregate: Aggregate) {
  const queue = new ActionQueue<Arm>(aggregate);
  queue.adopt(chunk('a', 0), 0);
  queue.take();
  const mark = queue.mark;
  queue.take();
  queue.take();
  expect(queue.adopt(chunk('b', 100), mark)).toBe(true);
  const taken = [];
  for (let next = queue.take(); next !== undefined; next = queue.take()) taken.push(next);
  return taken;
}

describe('ActionQueue', () => {
  it('goes on with the newest chunk, at the step that its observation is away', () => {
    const taken = takeOver('latest');
    expect(taken.map(({ step }) => step)).toEqual([2, 3, 4, 5, 6, 7]);
    expect(taken.map(({ row }) => row.shoulder)).toEqual([102, 103, 104, 105, 106, 107]);
    expect(taken.some(({ mixed }) => mixed)).toBe(false);
  });

  it.each([
    ['weighted', 0.7],
    ['average', 0.5],
    ['conservative', 0.3],
  ] as const)('mixes the steps that both chunks have: %s', (aggregate, share) => {
    const taken = takeOver(aggregate);
    // Of the first chunk the steps 3 to 7 were left, for the ticks of the second one's 2 to 6.
    taken.slice(0, 5).forEach(({ row, mixed, step }) => {
      expect(mixed).toBe(true);
      expect(row.shoulder).toBeCloseTo((step + 1) * (1 - share) + (100 + step) * share, 9);
      expect(row.gripper).toBeCloseTo(100 * share, 9);
    });
    expect(taken[5]).toMatchObject({ mixed: false, row: { shoulder: 107 } });
  });

  it('refuses a chunk whose steps are all past', () => {
    const queue = new ActionQueue<Arm>();
    queue.adopt(chunk('a', 0), 0);
    while (queue.take() !== undefined);
    expect(queue.adopt(chunk('b', 100), 0)).toBe(false);
    expect(queue.left(Infinity)).toBe(0);
  });
});
