import { cancelled } from '../backoff.ts';
import type { Clock } from '../robot/clock.ts';

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

/** Time that passes only while everything waits for it. */
export class VirtualClock implements Clock {
  private time = 0;
  private readonly sleepers = new Set<Sleeper>();

  now(): number {
    return this.time;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(cancelled(signal));
      const abort = (): void => {
        this.sleepers.delete(sleeper);
        reject(cancelled(signal));
      };
      const wake = (): void => {
        signal.removeEventListener('abort', abort);
        resolve();
      };
      const sleeper: Sleeper = { at: this.time + Math.max(0, ms), wake };
      this.sleepers.add(sleeper);
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  after(ms: number, call: () => void): () => void {
    const sleeper: Sleeper = { at: this.time + Math.max(0, ms), wake: call };
    this.sleepers.add(sleeper);
    return () => {
      this.sleepers.delete(sleeper);
    };
  }

  /** Time passes in which nobody is woken: the machine slept. */
  leap(ms: number): void {
    this.time += ms;
  }

  /** Lets time pass until `done` has settled. @throws Error when nothing waits for time any more. */
  async until<T>(done: Promise<T>): Promise<T> {
    const settled = new AbortController();
    const mark = (): void => settled.abort();
    done.then(mark, mark);
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      if (settled.signal.aborted) return done;
      const next = [...this.sleepers].sort((a, b) => a.at - b.at)[0];
      if (next === undefined) throw new Error(`nothing happens any more at ${this.time} ms`);
      this.sleepers.delete(next);
      this.time = Math.max(this.time, next.at);
      next.wake();
    }
  }
}
