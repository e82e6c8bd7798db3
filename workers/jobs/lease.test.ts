import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Lease, type LeaseOptions } from './lease.ts';
import { CancelRequested, LeaseLost, reasonOf, Stopping } from './reasons.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

function lease(beat: LeaseOptions['beat'], failures: unknown[] = []): Lease {
  return new Lease({
    beat,
    takenAt: performance.now(),
    leaseMs: 10_000,
    everyMs: 2_000,
    now: () => performance.now(),
    onBeatFailed: (error) => failures.push(error),
  });
}

describe('Lease', () => {
  it('lives as long as the beats are answered', async () => {
    const beat = vi.fn(() => Promise.resolve('ok' as const));
    const held = lease(beat);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(beat.mock.calls.length).toBe(30);
    held.assertHeld();
    held.stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(beat.mock.calls.length).toBe(30);
  });

  it('is lost at once when another worker holds it, and beats no more', async () => {
    const beat = vi.fn(() => Promise.resolve('lost' as const));
    const held = lease(beat);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(reasonOf(held.signal)).toBeInstanceOf(LeaseLost);
    expect(() => {
      held.assertHeld();
    }).toThrow('another worker');
    await vi.advanceTimersByTimeAsync(20_000);
    expect(beat).toHaveBeenCalledTimes(1);
  });

  it('gives up by its own clock before the lease ends when the database does not answer', async () => {
    const failures: unknown[] = [];
    const held = lease(() => Promise.reject(new Error('no database')), failures);
    await vi.advanceTimersByTimeAsync(7_999);
    expect(held.signal.aborted).toBe(false);
    expect(failures).toHaveLength(3);
    await vi.advanceTimersByTimeAsync(1);
    expect(reasonOf(held.signal)).toBeInstanceOf(LeaseLost);
  });

  it('gives up even while a beat hangs, counting from when it was asked', async () => {
    let answer: (value: 'ok') => void = () => undefined;
    const held = lease(() => new Promise((resolve) => (answer = resolve)));
    await vi.advanceTimersByTimeAsync(7_000);
    answer('ok');
    await vi.advanceTimersByTimeAsync(2_999);
    expect(held.signal.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(held.signal.aborted).toBe(true);
  });

  it('notices a lease that ran out while the event loop was blocked', () => {
    let clock = 0;
    const held = new Lease({
      beat: () => Promise.resolve('ok'),
      takenAt: 0,
      leaseMs: 10_000,
      everyMs: 2_000,
      now: () => clock,
      onBeatFailed: () => undefined,
    });
    held.assertHeld();
    clock = 9_000;
    expect(() => {
      held.assertHeld();
    }).toThrow(LeaseLost);
  });

  it('tells of a cancellation and keeps the lease for the cleaning up', async () => {
    const beat = vi.fn(() => Promise.resolve('cancel' as const));
    const held = lease(beat);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(reasonOf(held.signal)).toBeInstanceOf(CancelRequested);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(beat.mock.calls.length).toBeGreaterThan(5);
    expect(reasonOf(held.signal)).toBeInstanceOf(CancelRequested);
    held.stop();
  });

  it('passes on the reason that it is aborted with', () => {
    const held = lease(() => Promise.resolve('ok'));
    held.abort(new Stopping());
    expect(() => {
      held.assertHeld();
    }).toThrow(Stopping);
    held.stop();
  });
});
