import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CaptureClock } from './capture-clock.ts';
import { RateLimit } from './rate-limit.ts';
import { sceneDistance } from './scene.ts';
import { ReasoningLine, type CurrentReasoning } from './reasoning-line.ts';

describe('CaptureClock', () => {
  it('sees the delay of one observation, whatever the clocks say', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -1e9, max: 1e9 }),
        fc.integer({ min: 1, max: 500 }),
        (offset, late) => {
          const clock = new CaptureClock();
          for (let t = 0; t < 1000; t += 100) expect(clock.age(t + offset, t + 7)).toBe(0);
          expect(clock.age(1000 + offset, 1007 + late)).toBe(late);
        },
      ),
    );
  });

  it.each([-2_000, 2_000, -3_600_000, 3_600_000])(
    'takes no observation for late when the robot’s clock is set by %d ms',
    (set) => {
      const clock = new CaptureClock();
      for (let t = 0; t < 60_000; t += 100) {
        const captured = t + (t < 30_000 ? 0 : set);
        expect(clock.age(captured, t + 7 + (t % 3))).toBeLessThan(5);
      }
    },
  );

  it('forgets a small step of a clock that is seldom asked after a few observations', () => {
    const clock = new CaptureClock();
    let late = 0;
    for (let t = 0; t < 120_000; t += 3_000) {
      if (clock.age(t - (t < 60_000 ? 0 : 2_000), t) > 500) late += 1;
    }
    expect(late).toBe(3);
  });

  it('knows what waited in a network that stood still as late, to the last', () => {
    const clock = new CaptureClock();
    for (let t = 0; t < 10_000; t += 50) clock.age(t, t + 20);
    // Captured while nothing got through for two seconds; all of it comes at once.
    for (let t = 10_000; t < 12_000; t += 50) expect(clock.age(t, 12_000)).toBe(12_000 - t - 20);
    expect(clock.age(12_000, 12_020)).toBe(0);
  });

  it('follows a clock that drifts', () => {
    const clock = new CaptureClock();
    let worst = 0;
    for (let i = 0; i < 5000; i++) worst = Math.max(worst, clock.age(i * 100 * 0.9999, i * 100));
    expect(worst).toBeLessThan(2);
  });
});

describe('sceneDistance', () => {
  it('is the mean difference of all views, 0 to 1', () => {
    const black = { a: new Uint8Array(30), b: new Uint8Array(30) };
    const white = { a: new Uint8Array(30).fill(255), b: new Uint8Array(30).fill(255) };
    expect(sceneDistance(black, black)).toBe(0);
    expect(sceneDistance(black, white)).toBe(1);
    expect(sceneDistance(black, { ...black, b: white.b })).toBeCloseTo(0.5);
    expect(sceneDistance(black, { a: black.a })).toBe(1);
  });
});

describe('RateLimit', () => {
  it('lets the rate pass and a burst, and no more', () => {
    const limit = new RateLimit(20, 0);
    let passed = 0;
    for (let now = 0; now < 10_000; now++) if (limit.take(now)) passed += 1;
    expect(passed).toBeGreaterThanOrEqual(200);
    expect(passed).toBeLessThanOrEqual(231);
  });
});

describe('ReasoningLine', () => {
  const dark = { front: new Uint8Array(48) };
  const lit = { front: new Uint8Array(48).fill(51) };
  const made = (observedAt: number, instruction = 'lift'): CurrentReasoning => ({
    id: `r${observedAt}`,
    reasoning: { text: 'reach', tokens: 3, embedding: new Float32Array(4) },
    observedAt,
    instruction,
    scene: dark,
  });

  it('reasons in every chunk, never, or once for an instruction', () => {
    const every = new ReasoningLine({ when: 'every_chunk' });
    const never = new ReasoningLine({ when: 'off' });
    const change = new ReasoningLine({ when: 'instruction_change' });
    for (const line of [every, never, change]) line.accept(made(0));
    expect(every.plan('lift', 5, dark)).toEqual({ kind: 'reason_and_act', refresh: false });
    expect(never.plan('lift', 5, dark)).toEqual({ kind: 'act', refresh: false });
    expect(change.plan('lift', 60_000, dark)).toEqual({ kind: 'act', refresh: false });
    expect(change.plan('drop', 5, dark)).toEqual({ kind: 'reason_and_act', refresh: false });
  });

  it('renews at an interval, one refresh at a time, beside the chunks', () => {
    const line = new ReasoningLine({ when: 'interval', ms: 100 });
    expect(line.plan('lift', 0, dark).kind).toBe('reason_and_act');
    line.accept(made(0));
    expect(line.plan('lift', 99, dark)).toEqual({ kind: 'act', refresh: false });
    expect(line.plan('lift', 100, dark)).toEqual({ kind: 'act', refresh: true });
    line.refreshStarted();
    expect(line.plan('lift', 120, dark)).toEqual({ kind: 'act', refresh: false });
    line.refreshEnded();
    line.accept(made(100));
    expect(line.current('lift')?.id).toBe('r100');
    expect(line.plan('lift', 130, dark)).toEqual({ kind: 'act', refresh: false });
  });

  it('renews beside the chunks when the scene has changed enough from what was reasoned about', () => {
    const line = new ReasoningLine({ when: 'change', scene: 0.1 });
    expect(line.plan('lift', 0, dark).kind).toBe('reason_and_act');
    line.accept(made(0));
    expect(line.plan('lift', 5000, dark)).toEqual({ kind: 'act', refresh: false });
    expect(line.plan('lift', 5001, lit)).toEqual({ kind: 'act', refresh: true });
    line.refreshStarted();
    expect(line.plan('lift', 5002, lit)).toEqual({ kind: 'act', refresh: false });
    line.refreshEnded();
    line.accept({ ...made(5001), scene: lit });
    expect(line.plan('lift', 5003, lit)).toEqual({ kind: 'act', refresh: false });
    expect(line.plan('drop', 5004, lit).kind).toBe('reason_and_act');
  });

  it('never goes back to an older observation, nor uses one of another instruction', () => {
    const line = new ReasoningLine({ when: 'interval', ms: 100 });
    line.accept(made(50));
    line.accept(made(20));
    expect(line.current('lift')?.id).toBe('r50');
    expect(line.current('drop')).toBeUndefined();
  });
});
