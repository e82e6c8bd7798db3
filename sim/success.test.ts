import { describe, expect, it } from 'vitest';
import { Attempt, duo, goalAt, stepsToHold, trio, wilson } from './index.ts';
import type { Disc } from './scene.ts';

const disc: Disc = { colour: 'red', x: 0.5, y: 0.5, radius: 0.06, shade: [0, 0, 0] };

function watch(attempt: Attempt, states: readonly (readonly number[])[]): boolean {
  for (const state of states) attempt.observe(state);
  return attempt.reached;
}

describe('success', () => {
  const on = [...goalAt(duo.arm, disc)];
  const off = [on[0] ?? 0, (on[1] ?? 0) + 0.5];

  it('needs the tool to stay, not to pass', () => {
    const stay = Array.from({ length: stepsToHold }, () => on);
    expect(watch(new Attempt(duo.arm, disc), stay)).toBe(true);
    expect(watch(new Attempt(duo.arm, disc), stay.slice(1))).toBe(false);
    expect(watch(new Attempt(duo.arm, disc), [...stay.slice(1), off, ...stay.slice(1)])).toBe(
      false,
    );
  });

  it('ends at the rim', () => {
    const at = (x: number) => [...goalAt(duo.arm, { ...disc, x })];
    const five = (state: number[]) => Array.from({ length: 5 }, () => state);
    expect(watch(new Attempt(duo.arm, disc), five(at(0.5 + 0.0599)))).toBe(true);
    expect(watch(new Attempt(duo.arm, disc), five(at(0.5 + 0.0601)))).toBe(false);
  });

  it('needs a gripper to close on the object', () => {
    const there = goalAt(trio.arm, disc);
    const [a = 0, b = 0, c = 0] = there;
    const stay = (opening: number, n: number) =>
      Array.from({ length: n }, () => [a, b, c, opening]);
    const away = (opening: number) => [a + 0.6, b, c, opening];
    const attempt = () => new Attempt(trio.arm, disc);
    expect(watch(attempt(), [...stay(1, 3), ...stay(0.1, 5)])).toBe(true);
    expect(watch(attempt(), stay(1, 50))).toBe(false);
    expect(watch(attempt(), [...stay(1, 3), ...stay(0.1, 4)])).toBe(false);
    expect(watch(attempt(), [away(1), away(0), ...stay(0, 20)])).toBe(false);
    expect(watch(attempt(), [away(0), ...stay(0, 20)])).toBe(false);
    expect(watch(attempt(), [away(0), ...stay(0, 5), ...stay(1, 1), ...stay(0, 5)])).toBe(true);
  });
});

describe('Wilson interval', () => {
  // Roots of (p − k/n)² = z² p (1 − p) / n, solved apart as a quadratic.
  it.each([
    [98, 100, 0.929988, 0.994498],
    [0, 100, 0, 0.036993],
    [100, 100, 0.963007, 1],
    [5, 10, 0.236593, 0.763407],
    [1, 100, 0.001767, 0.054487],
  ])('%i of %i', (k, n, low, high) => {
    const [a, b] = wilson(k, n);
    expect(a).toBeCloseTo(low, 5);
    expect(b).toBeCloseTo(high, 5);
  });

  it('refuses what is no proportion', () => {
    expect(() => wilson(1, 0)).toThrow(RangeError);
    expect(() => wilson(3, 2)).toThrow(RangeError);
  });
});
