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

  it('stay with a robot that is connected when what was kept for its next epoch runs out', () => {
    const expired: string[] = [];
    const made = new Allocations(1, (session) => expired.push(session));
    const connected = made.take(claims('a', 1), 0);
    made.reserve(claims('a', 2), 0, 10);
    expect(made.counts(20).allocated).toBe(1);
    expect(expired).toEqual(['a']);
    expect(refusal(() => made.take(claims('b'), 20))).toBe('unavailable');
    made.reserve(claims('a', 2), 20, 10);
    expect(made.release(connected)).toBe(true);
    expect(made.counts(29).allocated).toBe(1);
    expect(made.counts(30).allocated).toBe(0);
  });

  it('never have two holders, and none is lost while it is held, whatever order things happen in', () => {
    const KEPT = 20;
    const event = fc.record({
      what: fc.constantFrom('take', 'reserve', 'release'),
      session: fc.integer({ min: 0, max: 4 }),
      epoch: fc.integer({ min: 1, max: 4 }),
      later: fc.constantFrom(0, 1, 7, KEPT),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 100 }), (events) => {
        const made = new Allocations(3);
        const given: Allocation[] = [];
        const connected = new Map<string, Allocation>();
        const kept = new Map<string, Allocation & { readonly until: number }>();
        let now = 0;
        for (const { what, session, epoch, later } of events) {
          now += later;
          for (const [name, { until }] of kept) if (until <= now) kept.delete(name);
          const who = claims(`s${session}`, epoch);
          if (what === 'release') {
            const old = given[(session * 7 + epoch) % Math.max(1, given.length)];
            if (old !== undefined) {
              const holders = [connected, kept].filter(
                (held) => held.get(old.session)?.fence === old.fence,
              );
              made.counts(now);
              expect(made.release(old)).toBe(holders.length > 0);
              for (const held of holders) held.delete(old.session);
            }
          } else {
            try {
              const held = what === 'take' ? made.take(who, now) : made.reserve(who, now, KEPT);
              given.push(held);
              if (what === 'take') {
                connected.set(who.sub, held);
                kept.delete(who.sub);
              } else if (connected.get(who.sub)?.fence !== held.fence) {
                kept.set(who.sub, { ...held, until: now + KEPT });
              }
            } catch (error) {
              expect((error as { code: string }).code).toMatch(/unavailable|conflict/);
            }
          }
          const holders = new Set([...connected.keys(), ...kept.keys()]);
          expect(holders.size).toBeLessThanOrEqual(3);
          expect(made.counts(now).allocated).toBe(holders.size);
        }
        const fences = [...connected.values(), ...kept.values()].map(({ fence }) => fence);
        expect(new Set(fences).size).toBe(fences.length);
      }),
    );
  });
});
