import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { brakingStep, followCommand, jointLimits, type JointLimits } from './joint-limits.ts';

const EPS = 1e-9;

function joint(over: Partial<JointLimits> = {}): JointLimits {
  const [made] = jointLimits({
    control_hz: 1,
    action: [{ name: 'elbow', unit: 'rad', group: 'arm', min: -50, max: 50 }],
  });
  return { ...made!, ...over };
}

interface Start {
  readonly position: number;
  readonly step: number;
}

/** Follows chunk after chunk, each known when it begins. */
function follow(limits: JointLimits, chunks: readonly (readonly number[])[], start: Start) {
  const made: number[] = [];
  let { position, step } = start;
  for (const wanted of chunks) {
    for (let t = 0; t < wanted.length; t++) {
      const next = followCommand(limits, wanted, t, position, step);
      step = next - position;
      position = next;
      made.push(next);
    }
  }
  return made;
}

const stepsOf = (made: readonly number[], from: number) =>
  made.map((value, i) => value - (made[i - 1] ?? from));

const largest = (values: readonly number[]) => Math.max(...values.map(Math.abs));

/** How far beyond what is wanted a joint is while it moves on from it, at its worst. */
function overshoot(made: readonly number[], wanted: readonly number[], from: number): number {
  const steps = stepsOf(made, from);
  const past = made.map((value, i) =>
    Math.abs(steps[i]!) < EPS ? 0 : (value - wanted[i]!) * Math.sign(steps[i]!),
  );
  return Math.max(0, ...past);
}

/** What a joint does that brakes from the first period on. */
function braking({ position, step }: Start, change: number, periods: number): number[] {
  const made: number[] = [];
  let [at, moving] = [position, step];
  for (let i = 0; i < periods; i++) {
    moving = Math.sign(moving) * Math.max(0, Math.abs(moving) - change);
    at += moving;
    made.push(at);
  }
  return made;
}

const change = fc.double({ min: 0.05, max: 3, noNaN: true });
const most = fc.oneof(fc.constant(Infinity), fc.double({ min: 0.1, max: 5, noNaN: true }));
const place = fc.double({ min: -40, max: 40, noNaN: true });
const share = fc.double({ min: -1, max: 1, noNaN: true });

/** Wanted values as a policy has them: it stands, jumps, goes on evenly, or is noisy. */
const wanted = fc
  .array(
    fc.record({
      to: place,
      slope: fc.oneof(fc.constant(0), fc.double({ min: -4, max: 4, noNaN: true })),
      noise: fc.array(share, { minLength: 8, maxLength: 8 }),
      amount: fc.constantFrom(0, 0, 0.1, 2),
      periods: fc.integer({ min: 1, max: 8 }),
    }),
    { minLength: 1, maxLength: 6 },
  )
  .map((parts) =>
    parts.flatMap(({ to, slope, noise, amount, periods }) =>
      Array.from({ length: periods }, (_, i) => to + slope * i + amount * noise[i]!),
    ),
  );

describe('followCommand', () => {
  it('passes nothing that is wanted on its way away from it, where it could brake', () => {
    let could = 0;
    fc.assert(
      fc.property(wanted, place, share, change, most, (values, position, u, changes, step) => {
        const limits = joint({ change: changes, step });
        const start = { position, step: u * Math.min(step, 6 * changes) };
        const brakes = braking(start, changes, values.length);
        if (brakes.some((at) => Math.abs(at) > 50)) return;
        if (overshoot(brakes, values, position) > 0) return;
        could += 1;
        expect(overshoot(follow(limits, [values], start), values, position)).toBeLessThan(EPS);
      }),
      { numRuns: 2000 },
    );
    expect(could).toBeGreaterThan(200);
  });

  it('keeps range, velocity and acceleration, whatever is wanted and however chunks follow', () => {
    fc.assert(
      fc.property(
        fc.array(wanted, { minLength: 1, maxLength: 4 }),
        fc.double({ min: 1, max: 45, noNaN: true }),
        share,
        change,
        most,
        (chunks, range, u, changes, step) => {
          const limits = joint({ min: -range, max: range, change: changes, step });
          const position = u * range;
          const made = follow(limits, chunks, { position, step: 0 });
          const steps = stepsOf(made, position);
          const changed = stepsOf(steps, 0);
          expect(largest(made)).toBeLessThanOrEqual(range);
          expect(largest(steps)).toBeLessThanOrEqual(step + EPS);
          expect(largest(changed)).toBeLessThanOrEqual(changes + EPS);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('leaves what keeps the limits as it is, however much it turns', () => {
    fc.assert(
      fc.property(
        fc.array(share, { minLength: 2, maxLength: 64 }),
        share,
        change,
        most,
        (accelerations, u, changes, step) => {
          const limits = joint({ min: -1e6, max: 1e6, change: changes, step });
          const start = { position: 0, step: u * Math.min(step, 20 * changes) };
          const values: number[] = [];
          let [at, moving] = [start.position, start.step];
          for (const a of accelerations) {
            moving = Math.min(step, Math.max(-step, moving + a * changes));
            at += moving;
            values.push(at);
          }
          const made = follow(limits, [values], start);
          expect(largest(made.map((value, i) => value - values[i]!))).toBeLessThan(1e-7);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('is at a value that stands as soon as whole numbers of its acceleration allow', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -20, max: 20 }),
        fc.integer({ min: -3, max: 3 }),
        fc.integer({ min: 3, max: 7 }),
        (to, moving, step) => {
          const limits = joint({ change: 1, step });
          const values = new Array<number>(20).fill(to);
          // Both directions are one question.
          const way = Math.sign(to) || 1;
          const made = follow(limits, [values.slice(0, 8), values.slice(8, 16), values.slice(16)], {
            position: 0,
            step: moving * way,
          });
          const best = furthestWithout(way * to, moving, step, values.length);
          if (best === undefined) return;
          expect(Math.min(...made.map((at, t) => way * at - best[t]!))).toBeGreaterThan(-EPS);
          expect(Math.max(...made.map((at) => way * (at - to)))).toBeLessThan(EPS);
          expect(made.at(-1)).toBeCloseTo(to, 9);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('brakes before a value that jumps away so that it stands by then, and no harder', () => {
    const values = [3, 5, -40, -40, -40];
    const made = follow(joint({ change: 1 }), [values], { position: 0, step: 2.5 });
    expect(made).toEqual([2, 3, 3, 2, 0]);
  });

  it('only keeps the range where nothing else is limited or known', () => {
    expect(followCommand(joint(), [70, 0], 0, 0, 0)).toBe(50);
    expect(followCommand(joint({ change: 1 }), [-70], 0, NaN, NaN)).toBe(-50);
    expect(followCommand(joint({ step: 2 }), [7, 7], 1, 0, NaN)).toBe(2);
  });

  it('takes no time over a joint that hardly accelerates', () => {
    const limits = joint({ change: 1e-12 });
    expect(followCommand(limits, [40, 41], 0, 0, NaN)).toBeLessThan(40);
    expect(followCommand(limits, [0, 40], 1, 0, 0)).toBeCloseTo(1e-12, 15);
  });
});

/**
 * Furthest that a joint can be after each period on its way to a value that it never passes, by trying
 * every whole-numbered course; undefined where it passes it whatever it does.
 */
function furthestWithout(to: number, moving: number, step: number, periods: number) {
  // Backwards: from which states the value need never be passed.
  const safe = new Map<string, boolean>();
  const isSafe = (at: number, speed: number): boolean => {
    if (at > to) return false;
    if (speed <= 0) return true;
    const key = `${at} ${speed}`;
    const known = safe.get(key);
    if (known !== undefined) return known;
    const may = isSafe(at + speed - 1, speed - 1);
    safe.set(key, may);
    return may;
  };
  if (!isSafe(0, moving)) return undefined;
  let states = new Map<string, readonly [number, number]>([[`0 ${moving}`, [0, moving] as const]]);
  const best: number[] = [];
  for (let t = 0; t < periods; t++) {
    const next = new Map<string, readonly [number, number]>();
    for (const [at, speed] of states.values()) {
      for (const to of [speed - 1, speed, speed + 1]) {
        const state = [at + to, to] as const;
        if (Math.abs(to) <= step && isSafe(...state)) next.set(state.join(' '), state);
      }
    }
    states = next;
    best.push(Math.max(...[...states.values()].map(([at]) => at)));
  }
  return best;
}

describe('brakingStep', () => {
  it('stops exactly on the limit', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1e-3, max: 10, noNaN: true }),
        fc.double({ min: 1e-2, max: 1, noNaN: true }),
        (distance, changes) => {
          let step = brakingStep(distance, changes);
          let travelled = 0;
          for (; step > 0; step -= changes) travelled += step;
          expect(travelled).toBeCloseTo(distance, 6);
        },
      ),
    );
  });
});
