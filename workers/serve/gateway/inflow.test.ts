import { EventEmitter } from 'node:events';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import { claimsFor } from '../testing/robots.ts';
import { Inflow } from './inflow.ts';

/** A socket's readable side, on a clock of its own: while it is paused nothing of what was sent arrives. */
class Scene {
  now = 0;
  readonly received: { readonly at: number; readonly byte: number }[] = [];
  readonly floods: number[] = [];
  pauses = 0;
  isPaused = false;
  isTerminated = false;
  private readonly socket = new EventEmitter();
  private readonly sent: Buffer[] = [];
  private timers: { readonly at: number; readonly call: () => void }[] = [];

  constructor(maxHz: number) {
    const end = Object.assign(this.socket, {
      pause: () => {
        this.pauses += 1;
        this.isPaused = true;
      },
      resume: () => {
        this.isPaused = false;
        this.deliver();
      },
      terminate: () => (this.isTerminated = true),
    });
    Object.defineProperty(end, 'isPaused', { get: () => this.isPaused });
    new Inflow({
      socket: end as unknown as WebSocket,
      claims: claimsFor({ limits: { max_in_flight: 2, max_hz: maxHz } }),
      clock: { now: () => this.now, wall: () => this.now },
      after: (ms, call) => {
        const timer = { at: this.now + ms, call };
        this.timers.push(timer);
        return () => void (this.timers = this.timers.filter((other) => other !== timer));
      },
      receive: ({ bytes }) => this.received.push({ at: this.now, byte: bytes[0] ?? 0 }),
      onFlood: () => this.floods.push(this.now),
    });
  }

  send(frame: Buffer): void {
    this.sent.push(frame);
    this.deliver();
  }

  ping(): void {
    this.socket.emit('ping');
  }

  /** Lets time pass, timers at their own. */
  runTo(end: number): void {
    for (;;) {
      const [next] = this.timers.toSorted((a, b) => a.at - b.at);
      if (next === undefined || next.at > end) break;
      this.timers = this.timers.filter((timer) => timer !== next);
      this.now = Math.max(this.now, next.at);
      next.call();
    }
    this.now = end;
  }

  private deliver(): void {
    while (!this.isPaused) {
      const frame = this.sent.shift();
      if (frame === undefined) return;
      this.socket.emit('message', frame, true);
    }
  }
}

describe('what comes in', () => {
  it('of a robot at its rate is never held up, however the network bunches it', () => {
    const robot = fc.record({
      hz: fc.integer({ min: 1, max: 100 }),
      /** How late each observation comes, ms; none overtakes another. */
      late: fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 1, maxLength: 200 }),
      bytes: fc.integer({ min: 1, max: 200_000 }),
    });
    fc.assert(
      fc.property(robot, ({ hz, late, bytes }) => {
        const scene = new Scene(hz);
        const frame = Buffer.alloc(bytes);
        let at = 0;
        late.forEach((delay, i) => {
          at = Math.max(at, (i * 1000) / hz + delay);
          scene.runTo(at);
          scene.send(frame);
          // Beside it, now and then, what else a robot sends.
          if (i % 20 === 0) scene.send(Buffer.of(1));
          if (i % 50 === 0) scene.ping();
        });
        expect(scene.pauses).toBe(0);
        expect(scene.received).toHaveLength(late.length + Math.ceil(late.length / 20));
      }),
    );
  });

  it('beyond that waits, in its order, and is read at the rate that is allowed', () => {
    const frames = fc.integer({ min: 100, max: 600 });
    fc.assert(
      fc.property(frames, fc.integer({ min: 1, max: 50 }), (count, hz) => {
        const scene = new Scene(hz);
        const rate = 4 * hz + 20;
        for (let i = 0; i < count; i++) scene.send(Buffer.of(i % 256));
        scene.runTo(5_000);
        const most = 17 + (rate * 5_000) / 1000;
        expect(scene.received.length).toBe(Math.min(count, scene.received.length));
        expect(scene.received.length).toBeLessThanOrEqual(most);
        expect(scene.received.length).toBeGreaterThanOrEqual(Math.min(count, most - 2));
        expect(scene.received.map(({ byte }) => byte)).toEqual(
          scene.received.map((_, i) => i % 256),
        );
      }),
    );
  });

  it('is bounded in bytes too, and a frame as large as any passes', () => {
    const scene = new Scene(1);
    const large = Buffer.alloc(8 << 20);
    for (let i = 0; i < 4; i++) scene.send(large);
    expect(scene.received).toHaveLength(1);
    // 64 × 48 pixels and 256 KiB besides, twice a second.
    scene.runTo(15_000);
    expect(scene.received).toHaveLength(2);
  });

  it('counts pings, which are answered by themselves', () => {
    const scene = new Scene(10);
    for (let i = 0; i < 500; i++) scene.ping();
    expect(scene.isPaused).toBe(true);
    scene.runTo(9_000);
    expect(scene.isPaused).toBe(false);
  });

  it('is given up after ten seconds of too much, and not before', () => {
    const scene = new Scene(10);
    for (let at = 0; at <= 30_000; at += 5) {
      scene.runTo(at);
      scene.send(Buffer.of(7));
    }
    expect(scene.floods).toHaveLength(1);
    expect(scene.floods[0]).toBeGreaterThan(10_000);
    expect(scene.floods[0]).toBeLessThan(11_000);
    expect(scene.received.at(-1)?.at).toBeLessThan(11_000);
    expect(scene.isTerminated).toBe(true);
  });

  it('may be too much for moments, for ever', () => {
    const scene = new Scene(10);
    for (let at = 0; at <= 60_000; at += 2_000) {
      scene.runTo(at);
      for (let i = 0; i < 60; i++) scene.send(Buffer.of(7));
    }
    expect(scene.floods).toEqual([]);
    expect(scene.pauses).toBeGreaterThan(10);
  });
});
