import { describe, expect, it } from 'vitest';
import { learningRate } from './schedule.ts';

const options = { peak: 2, warmup: 10, total: 110, floor: 0.1 };

describe('learningRate', () => {
  it('rises in a line, falls along a cosine and ends at its floor', () => {
    expect(learningRate(0, options)).toBe(0);
    expect(learningRate(5, options)).toBe(1);
    expect(learningRate(10, options)).toBe(2);
    expect(learningRate(60, options)).toBeCloseTo((2 + 0.2) / 2, 12);
    expect(learningRate(110, options)).toBeCloseTo(0.2, 12);
    expect(learningRate(500, options)).toBeCloseTo(0.2, 12);
  });

  it('falls as far where the time ends before the steps', () => {
    expect(learningRate(30, options, 0.5)).toBeCloseTo(learningRate(60, options), 12);
    expect(learningRate(30, options, 1)).toBeCloseTo(0.2, 12);
    expect(learningRate(90, options, 0.1)).toBe(learningRate(90, options));
    expect(learningRate(5, options, 0.9)).toBe(1);
  });
});
