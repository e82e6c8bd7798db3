import { describe, expect, it } from 'vitest';
import { CommandLimits } from './command-limits.ts';
import { assertSameEmbodiment, defineEmbodiment } from './embodiment.ts';

function robot(
  rates: { max_velocity?: number; max_acceleration?: number },
  on_violation: 'clamp' | 'refuse' = 'clamp',
) {
  return defineEmbodiment({
    name: 'arm',
    control_hz: 10,
    horizon: 8,
    state: [{ name: 'elbow', unit: 'rad' }],
    action: [
      { name: 'elbow', unit: 'rad', group: 'arm', min: -10, max: 10, ...rates },
      { name: 'grip', unit: 'ratio', group: 'hand', min: 0, max: 1 },
    ],
    references: { arm: 'state', hand: 'absolute' },
    cameras: [{ name: 'front', kind: 'external', width: 64, height: 64 }],
    on_violation,
    when_starved: 'hold',
  });
}

const chunk = (...elbow: number[]) => ({ rows: elbow.map((value) => ({ elbow: value, grip: 0 })) });
const still = (at: number) => chunk(...new Array<number>(8).fill(at));

describe('CommandLimits', () => {
  it('leaves a row alone that is within the limits, and one without any', () => {
    const free = new CommandLimits(robot({}));
    const far = chunk(0, 9);
    expect(free.next(far, 1)).toBe(far.rows[1]);
    const limits = new CommandLimits(robot({ max_velocity: 10 }));
    limits.startAt(Float32Array.of(8));
    expect(limits.next(far, 1)).toBe(far.rows[1]);
    expect(limits.next(far, 0)).toEqual({ elbow: 8, grip: 0 });
  });

  it('closes up with a chunk that stands or moves, and does not run past it', () => {
    for (const slope of [0, 0.3]) {
      const limits = new CommandLimits(robot({ max_velocity: 10, max_acceleration: 10 }));
      limits.startAt(Float32Array.of(0));
      limits.next(still(0), 0);
      const behind: number[] = [];
      for (let tick = 0; tick < 20; tick++) {
        const from = 3 + slope * tick;
        const made = limits.next(chunk(from, from + slope), 1);
        behind.push(from + slope - made.elbow);
      }
      expect(Math.min(...behind)).toBeGreaterThan(-1e-9);
      expect(behind.at(-1)).toBeCloseTo(0, 6);
    }
  });

  it('brakes before the chunk turns round, from wherever it is executed', () => {
    const limits = new CommandLimits(robot({ max_velocity: 10, max_acceleration: 10 }));
    limits.startAt(Float32Array.of(0));
    limits.next(still(0), 0);
    const turning = chunk(0.1, 0.3, 0.6, 1, 1.4, 0.9, 0.4, 0);
    const made = turning.rows.map((_, step) => limits.next(turning, step).elbow);
    const steps = made.map((value, i) => value - (made[i - 1] ?? 0));
    expect(made.slice(0, 3)).toEqual([0.1, 0.3, 0.6]);
    // At the turn it is not on its way up any more: without looking ahead it is at 1.7 three steps later.
    expect(steps[5]).toBeLessThanOrEqual(0);
    expect(Math.max(...made)).toBeLessThan(1.4);
  });

  it('takes what is wanted in place of a row for where the chunk goes on from', () => {
    const limits = new CommandLimits(robot({ max_velocity: 10, max_acceleration: 10 }));
    limits.startAt(Float32Array.of(0));
    limits.next(still(0), 0);
    const rising = chunk(0, 0, 0.1, 0.3, 0.6, 1, 1.5, 2.1);
    const ahead = [0.1, 0.3, 0.6, 1, 1.5];
    ahead.forEach((elbow, i) => {
      const wanted = { elbow, grip: 0 };
      expect(limits.next(rising, i + 1, wanted)).toBe(wanted);
    });
  });

  it('goes on from what the robot’s own filters made of the last command', () => {
    const limits = new CommandLimits(robot({ max_velocity: 10, max_acceleration: 10 }));
    limits.startAt(Float32Array.of(0));
    limits.next(still(0), 0);
    expect(limits.next(still(0.1), 0).elbow).toBeCloseTo(0.1);
    limits.changed(Float32Array.of(0.05, 0));
    // The step before was 0.05, and may grow by 0.1.
    expect(limits.next(still(5), 0).elbow).toBeCloseTo(0.2);
  });

  it('holds a velocity however wide the range is', () => {
    const { action, ...rest } = robot({ max_velocity: 10 });
    const wide = action.map((joint) => ({ ...joint, min: -1e6, max: 1e6 }));
    const limits = new CommandLimits({ ...rest, action: wide });
    limits.startAt(Float32Array.of(0));
    expect(limits.next(still(1.5), 0)['elbow']).toBeCloseTo(1);
  });

  it('sets out from standing after a tick without a command', () => {
    const limits = new CommandLimits(robot({ max_acceleration: 10 }));
    limits.startAt(Float32Array.of(0));
    limits.next(chunk(0, 0.5), 1);
    limits.held();
    expect(limits.next(still(5), 0).elbow).toBeCloseTo(0.6);
  });

  it('refuses as the embodiment says, and then has executed nothing', () => {
    const limits = new CommandLimits(robot({ max_velocity: 10 }, 'refuse'));
    limits.startAt(Float32Array.of(0));
    limits.next(still(0.9), 0);
    expect(() => limits.next(still(2), 3)).toThrow(
      expect.objectContaining({ code: 'invalid_action', field: 'actions[3].elbow' }),
    );
    expect(limits.next(still(1.8), 0).elbow).toBe(1.8);
  });
});

describe('assertSameEmbodiment', () => {
  it('names a control rate that differs', () => {
    const own = robot({});
    const theirs = structuredClone({ ...own, control_hz: 20 }) as unknown as Parameters<
      typeof assertSameEmbodiment
    >[1];
    expect(() => assertSameEmbodiment(own, theirs)).toThrow(
      expect.objectContaining({ code: 'embodiment_mismatch', field: 'control_hz' }),
    );
  });
});
