import { describe, expect, it } from 'vitest';
import { MemoryWatch } from './memory-watch.ts';

describe('MemoryWatch', () => {
  it('tells once, and only of memory that stays over the budget', () => {
    const told: number[] = [];
    const readings = [5, 11, 12, 9, 11, 12, 13, 14, 15];
    let at = 0;
    const watch = new MemoryWatch({
      budget: 10,
      resident: () => readings[at++] ?? 0,
      readings: 3,
      onOver: (bytes) => told.push(bytes),
    });
    readings.forEach(() => watch.read());
    expect(told).toEqual([13]);
  });
});
