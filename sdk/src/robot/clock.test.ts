import { describe, expect, it } from 'vitest';
import { wakefulClock } from './clock.ts';

function clocks() {
  const at = { monotonic: 5_000, wall: 1_700_000_000_000 };
  const now = wakefulClock(
    () => at.monotonic,
    () => at.wall,
  );
  const pass = (monotonic: number, wall = monotonic): number => {
    at.monotonic += monotonic;
    at.wall += wall;
    return now();
  };
  return { pass };
}

describe('the robot’s clock', () => {
  it('goes as the monotonic clock does while the system’s is merely slewed', () => {
    const { pass } = clocks();
    for (let i = 1; i <= 100; i++) expect(pass(20, 21)).toBe(5_000 + 20 * i);
  });

  it('counts the time in which the machine slept', () => {
    const { pass } = clocks();
    expect(pass(20)).toBe(5_020);
    expect(pass(20, 60_020)).toBe(65_040);
    expect(pass(20)).toBe(65_060);
  });

  it('never goes back when the system’s clock is set back, and notes the next sleep all the same', () => {
    const { pass } = clocks();
    expect(pass(20, -3_600_000)).toBe(5_020);
    expect(pass(20)).toBe(5_040);
    expect(pass(20, 10_020)).toBe(15_060);
  });
});
