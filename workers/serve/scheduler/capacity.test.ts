import { describe, expect, it } from 'vitest';
import { Capacity } from './capacity.ts';

const capacity = (engines = 1) =>
  new Capacity({ engines, fill: 0.9, busyFrom: 0.7, windowMs: 10_000 });

/** Ten seconds of back-to-back runs of `ranMs` with `rows` rows each; the end of it. */
function load(of: Capacity, kind: string, rows: number, ranMs: number, share = 1): number {
  for (let now = ranMs; now <= 10_000 * share; now += ranMs) {
    of.observe({ kind, rows, ranMs, endedAt: now });
  }
  return 10_000 * share;
}

describe('Capacity', () => {
  it('refuses nobody before anything was measured', () => {
    const made = capacity();
    for (let i = 0; i < 1000; i++) made.hold(`s${i}`, { act: 10 });
    expect(made.refusal('new', { act: 10 }, 100, 0)).toBeUndefined();
  });

  it('refuses a rate that the engines cannot meet beside what they hold, and says by how much', () => {
    const made = capacity();
    const now = load(made, 'act', 4, 40);
    // 10 ms a row: 90 rows a second fit into 90 % of an engine.
    const leave = Array.from({ length: 8 }, (_, i) => made.hold(`s${i}`, { act: 10 }));
    expect(made.refusal('new', { act: 10 }, 500, now)).toBeUndefined();
    leave.push(made.hold('s8', { act: 10 }));
    expect(made.refusal('new', { act: 10 }, 500, now)).toBe(
      'the engines were busy 100 % of late; 9 sessions need 90 % of them and this one 10 % more',
    );
    expect(made.refusal('s3', { act: 10 }, 500, now)).toBeUndefined();
    leave.pop()?.();
    expect(made.refusal('new', { act: 10 }, 500, now)).toBeUndefined();
  });

  it('goes by the batch size that was cheapest a row', () => {
    const made = capacity();
    load(made, 'act', 1, 20, 0.4);
    const now = load(made, 'act', 8, 80);
    for (let i = 0; i < 8; i++) made.hold(`s${i}`, { act: 10 });
    expect(made.refusal('new', { act: 10 }, 500, now)).toBeUndefined();
  });

  it('does not take a quiet worker for a slow one', () => {
    const made = capacity();
    const now = load(made, 'act', 1, 20, 0.3);
    for (let i = 0; i < 20; i++) made.hold(`s${i}`, { act: 10 });
    expect(made.busy(10_000)).toBeCloseTo(0.3);
    expect(made.refusal('new', { act: 10 }, 500, now + 7_000)).toBeUndefined();
  });

  it('refuses a robot that runs out of actions before one chunk is computed', () => {
    const made = capacity();
    made.observe({ kind: 'act', rows: 1, ranMs: 400, endedAt: 400 });
    expect(made.refusal('new', { act: 3 }, 320, 400)).toMatch(/takes 400 ms here.*after 320 ms/);
    expect(made.refusal('new', { act: 1 }, 800, 400)).toBeUndefined();
  });

  it('says what a row of each kind costs, in rows of the cheapest', () => {
    const made = capacity();
    expect(made.rowCost('act')).toBe(1);
    load(made, 'reason_and_act', 8, 160);
    expect(made.rowCost('reason_and_act')).toBe(1);
    load(made, 'act', 8, 80);
    expect(made.rowCost('act')).toBe(1);
    expect(made.rowCost('reason_and_act')).toBeCloseTo(2);
    expect(made.rowCost('reason')).toBe(1);
  });

  it('counts every kind of row that a session asks for, and every engine', () => {
    const one = capacity(1);
    const two = capacity(2);
    for (const made of [one, two]) {
      load(made, 'act', 1, 10);
      load(made, 'reason', 1, 100);
      made.hold('s', { act: 50, reason: 4 });
    }
    expect(one.refusal('new', { act: 1 }, 500, 10_000)).toBeDefined();
    expect(two.refusal('new', { act: 50, reason: 1 }, 500, 10_000)).toBeUndefined();
  });
});
