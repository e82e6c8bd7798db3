import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Allocations, type Allocation } from './allocations.ts';

const claims = (sub: string, epoch = 1) => ({ sub, epoch });
const refusal = (call: () => unknown): string => {
  try {
    call();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return 'none';
};

describe('Allocations', () => {
  it('are ready, allocated, then draining', () => {
    const made = new Allocations(2);
    expect(made.counts(0)).toEqual({ ready: 2, allocated: 0, draining: 0 });
    made.take(claims('a'), 0);
    made.reserve(claims('b'), 0, 100);
    expect(made.counts(50)).toEqual({ ready: 0, allocated: 2, draining: 0 });
    expect(refusal(() => made.take(claims('c'), 50))).toBe('unavailable');
    expect(made.counts(100)).toEqual({ ready: 1, allocated: 1, draining: 0 });
    made.drain();
    expect(made.counts(100)).toEqual({ ready: 0, allocated: 0, draining: 1 });
    expect(refusal(() => made.take(claims('c'), 100))).toBe('unavailable');
  });

  it('give a session that connects the place that was kept for it', () => {
    const made = new Allocations(1);
    made.reserve(claims('a'), 0, 100);
    expect(refusal(() => made.take(claims('b'), 1))).toBe('unavailable');
    made.take(claims('a'), 1);
    expect(made.counts(1000).allocated).toBe(1);
    made.reserve(claims('a'), 1000, 10);
    expect(made.counts(2000).allocated).toBe(1);
  });

  it('pass to the next epoch, and the end of the one before does not free them', () => {
    const made = new Allocations(1);
    const first = made.take(claims('a', 1), 0);
    const second = made.take(claims('a', 2), 0);
    expect(second.fence).toBeGreaterThan(first.fence);
    expect(refusal(() => made.take(claims('a', 1), 0))).toBe('conflict');
    expect(made.release(first)).toBe(false);
    expect(refusal(() => made.take(claims('b'), 0))).toBe('unavailable');
    expect(made.release(second)).toBe(true);
    made.take(claims('b'), 0);
  });

  it('never have two holders, whatever order things happen in', () => {
    const event = fc.record({
      what: fc.constantFrom('take', 'reserve', 'release'),
      session: fc.integer({ min: 0, max: 4 }),
      epoch: fc.integer({ min: 1, max: 4 }),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 100 }), (events) => {
        const made = new Allocations(3);
        const given: Allocation[] = [];
        const live = new Map<string, Allocation>();
        events.forEach(({ what, session, epoch }, now) => {
          if (what === 'release') {
            const old = given[(session * 7 + epoch) % Math.max(1, given.length)];
            if (old === undefined) return;
            const wasLive = live.get(old.session)?.fence === old.fence;
            if (made.release(old)) {
              expect(wasLive).toBe(true);
              live.delete(old.session);
            }
            return;
          }
          try {
            const held =
              what === 'take'
                ? made.take(claims(`s${session}`, epoch), now)
                : made.reserve(claims(`s${session}`, epoch), now, 1000);
            given.push(held);
            live.set(held.session, held);
          } catch (error) {
            expect((error as { code: string }).code).toMatch(/unavailable|conflict/);
          }
          expect(live.size).toBeLessThanOrEqual(3);
          expect(made.counts(now).allocated).toBe(live.size);
        });
        expect(new Set([...live.values()].map(({ fence }) => fence)).size).toBe(live.size);
      }),
    );
  });
});
