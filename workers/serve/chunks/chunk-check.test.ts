import { brakingStep, type EmbodimentSpec } from '@armature/sdk/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkChunk } from './chunk-check.ts';
import { chunkLimits } from './chunk-limits.ts';
import { departureOf } from './departure.ts';

function spec(
  limits: { max_velocity?: number; max_acceleration?: number },
  onViolation: 'clamp' | 'refuse' = 'clamp',
): EmbodimentSpec {
  return {
    name: 'arm',
    control_hz: 10,
    horizon: 16,
    state: [{ name: 'elbow', unit: 'rad' }],
    action: [
      { name: 'elbow', unit: 'rad', group: 'arm', min: -1, max: 2, ...limits },
      { name: 'grip', unit: 'ratio', group: 'hand', min: 0, max: 1 },
    ],
    references: { arm: 'state', hand: 'absolute' },
    cameras: [{ name: 'front', kind: 'external', width: 64, height: 64 }],
    on_violation: onViolation,
    when_starved: 'hold',
  };
}

const wild = fc
  .array(fc.float({ min: -4, max: 4, noNaN: true, noDefaultInfinity: true }), {
    minLength: 32,
    maxLength: 32,
  })
  .map((values) => Float32Array.from(values));
const inside = fc.double({ min: -1, max: 2, noNaN: true });
const start = (position: number) =>
  departureOf(spec({}), Float32Array.of(position), undefined, undefined);
const elbow = (actions: Float32Array) => [...actions].filter((_, i) => i % 2 === 0);
const steps = (from: number, values: number[]) => values.map((v, i) => v - (values[i - 1] ?? from));
const twice = (command: Float32Array) => [command, command] as const;
const EPS = 1e-5;

describe('checkChunk, clamping', () => {
  it('keeps every value inside the range and leaves what was inside alone', () => {
    fc.assert(
      fc.property(wild, inside, (actions, from) => {
        const limits = chunkLimits(spec({}));
        const { actions: out, clamped } = checkChunk(actions, limits, start(from));
        let changed = 0;
        out.forEach((value, i) => {
          const joint = limits.joints[i % 2]!;
          expect(value).toBeGreaterThanOrEqual(joint.min - EPS);
          expect(value).toBeLessThanOrEqual(joint.max + EPS);
          if (value !== actions[i]) changed += 1;
        });
        expect(clamped).toBe(changed);
      }),
    );
  });

  it('holds velocity from the measured position on', () => {
    fc.assert(
      fc.property(wild, inside, (actions, from) => {
        const { actions: out } = checkChunk(
          actions,
          chunkLimits(spec({ max_velocity: 2 })),
          start(from),
        );
        for (const step of steps(from, elbow(out))) expect(Math.abs(step)).toBeLessThan(0.2 + EPS);
      }),
    );
  });

  it('holds range, velocity and acceleration together from any start that can brake', () => {
    const change = 5 / 100;
    fc.assert(
      fc.property(wild, inside, fc.double({ min: -1, max: 1, noNaN: true }), (actions, from, u) => {
        const room = u > 0 ? brakingStep(2 - from, change) : brakingStep(from + 1, change);
        const step = Math.sign(u) * Math.min(Math.abs(u), room, 0.3);
        const s = spec({ max_velocity: 3, max_acceleration: 5 });
        const last = Float32Array.of(from, 0);
        const before = Float32Array.of(from - step, 0);
        const departure = departureOf(s, Float32Array.of(9), last, before);
        const { actions: out } = checkChunk(actions, chunkLimits(s), departure);
        const values = elbow(out);
        const moved = steps(from, values);
        moved.forEach((m, i) => {
          expect(values[i]).toBeGreaterThanOrEqual(-1 - EPS);
          expect(values[i]).toBeLessThanOrEqual(2 + EPS);
          expect(Math.abs(m)).toBeLessThan(0.3 + EPS);
          expect(Math.abs(m - (moved[i - 1] ?? step))).toBeLessThan(change + EPS);
        });
      }),
      { numRuns: 300 },
    );
  });

  it('goes to where a chunk jumps as fast as it can stop there, and not past it', () => {
    const s = spec({ max_velocity: 10, max_acceleration: 10 });
    fc.assert(
      fc.property(inside, inside, fc.integer({ min: 0, max: 8 }), (from, to, at) => {
        const actions = Float32Array.from({ length: 32 }, (_, i) => (i >> 1 < at ? from : to));
        const still = departureOf(s, Float32Array.of(9), ...twice(Float32Array.of(from, 0)));
        const values = elbow(checkChunk(actions, chunkLimits(s), still).actions);
        const way = Math.sign(to - from);
        steps(from, values).forEach((m) => expect(way * m).toBeGreaterThan(-EPS));
        values.forEach((value) => expect(way * (value - to)).toBeLessThan(EPS));
        // At 0.1 a step more each step it is 0.6 far after three, and stops within two.
        if (Math.abs(to - from) < 0.6) expect(values[at + 5]).toBeCloseTo(to, 4);
      }),
    );
  });

  it('never changes a chunk that it has clamped already', () => {
    const s = spec({ max_velocity: 3, max_acceleration: 5 });
    fc.assert(
      fc.property(wild, inside, (actions, from) => {
        const once = checkChunk(actions, chunkLimits(s), start(from));
        const twice = checkChunk(once.actions, chunkLimits(s), start(from));
        expect(twice.clamped).toBe(0);
        expect(twice.actions).toEqual(once.actions);
      }),
    );
  });
});

describe('checkChunk, refusing', () => {
  const still = new Float32Array(32).fill(0.5);
  const refusing = spec({ max_velocity: 2, max_acceleration: 100 }, 'refuse');
  const check = (index: number, value: number, s = refusing) => {
    const actions = Float32Array.from(still);
    actions[index] = value;
    return checkChunk(actions, chunkLimits(s), start(0.5));
  };

  it('lets a chunk inside the limits through unchanged', () => {
    expect(check(0, 0.5)).toEqual({ actions: still, clamped: 0 });
  });

  it.each([
    ['a value past the range', 5, 1.2, 'actions[2].grip'],
    ['a step past the velocity', 6, 0.75, 'actions[3].elbow'],
    ['the first step past the velocity', 0, 0.75, 'actions[0].elbow'],
  ])('refuses %s and names it', (_, index, value, field) => {
    expect(() => check(index, value)).toThrow(
      expect.objectContaining({ code: 'invalid_action', field }),
    );
  });

  it('refuses a step that changes too fast', () => {
    const s = spec({ max_acceleration: 10 }, 'refuse');
    expect(() => check(6, 0.65, s)).toThrow(
      expect.objectContaining({ code: 'invalid_action', field: 'actions[3].elbow' }),
    );
  });

  it.each(['clamp', 'refuse'] as const)(
    'a range of no meaning takes nothing from a velocity: %s',
    (on) => {
      const [joint, grip] = spec({ max_velocity: 2, max_acceleration: 100 }, on).action;
      const wide = { ...joint!, min: -1e6, max: 1e6 };
      const s = { ...spec({}, on), action: [wide, grip!] };
      const leap = (by: number) => {
        const actions = Float32Array.from(still, (value, i) => (i === 6 ? value + by : value));
        return checkChunk(actions, chunkLimits(s), start(0.5));
      };
      if (on === 'refuse') {
        expect(() => leap(0.25)).toThrow(expect.objectContaining({ field: 'actions[3].elbow' }));
      } else {
        expect(leap(0.25).actions[6]).toBeCloseTo(0.7, 6);
      }
      expect(leap(0.15).clamped).toBe(0);
    },
  );

  it.each([NaN, Infinity, -Infinity])('refuses %s even where limits clamp', (value) => {
    expect(() => check(4, value, spec({}))).toThrow(
      expect.objectContaining({ code: 'invalid_action', field: 'actions[2].elbow' }),
    );
  });

  it('refuses a chunk of another shape', () => {
    expect(() => checkChunk(still.slice(2), chunkLimits(refusing), start(0))).toThrow(
      expect.objectContaining({ code: 'invalid_action', field: 'actions' }),
    );
  });

  it('agrees with clamping: what clamping leaves alone is never refused', () => {
    const limits = { max_velocity: 3, max_acceleration: 5 };
    fc.assert(
      fc.property(wild, inside, (actions, from) => {
        const { actions: out } = checkChunk(actions, chunkLimits(spec(limits)), start(from));
        const verdict = checkChunk(out, chunkLimits(spec(limits, 'refuse')), start(from));
        expect(verdict.clamped).toBe(0);
      }),
    );
  });
});
