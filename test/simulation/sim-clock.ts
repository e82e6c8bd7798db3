import { cancelled } from '../../sdk/src/backoff.ts';
import type { Clock } from '../../sdk/src/robot/clock.ts';

interface Due {
  readonly at: number;
  readonly order: number;
  readonly call: () => void;
}

/** What calendars show at virtual time 0, ms since the Unix epoch. */
export const WALL_START = 1_700_000_000_000;

/** What is not over by then never will be, ms. */
const LONGEST_MS = 600_000;

/** Virtual time: the next event happens once everything that the last one started has settled. */
export class SimClock implements Clock {
  private time = 0;
  private made = 0;
  /** A binary heap, the earliest first, of equal ones the first made. */
  private readonly heap: Due[] = [];
  private readonly dropped = new Set<Due>();

  now(): number {
    return this.time;
  }

  wall(): number {
    return WALL_START + this.time;
  }

  after(ms: number, call: () => void): () => void {
    const due = { at: this.time + Math.max(0, ms), order: this.made++, call };
    this.push(due);
    return () => {
      this.dropped.add(due);
    };
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(cancelled(signal));
      const abort = (): void => {
        stop();
        if (signal !== undefined) reject(cancelled(signal));
      };
      const stop = this.after(ms, () => {
        signal?.removeEventListener('abort', abort);
        resolve();
      });
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  /** Lets time pass until `done` has settled. @throws Error when nothing is due any more, or it never ends. */
  async until<T>(done: Promise<T>): Promise<T> {
    const state = { settled: false };
    const mark = (): void => {
      state.settled = true;
    };
    done.then(mark, mark);
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      if (state.settled) return done;
      let next = this.pop();
      while (next !== undefined && this.dropped.delete(next)) next = this.pop();
      if (next === undefined) throw new Error(`nothing is due any more at ${this.time} ms`);
      this.time = next.at;
      if (this.time > LONGEST_MS) throw new Error(`it goes on and on, at ${this.time} ms`);
      next.call();
    }
  }

  private push(due: Due): void {
    const { heap } = this;
    heap.push(due);
    for (let i = heap.length - 1; i > 0;) {
      const parent = (i - 1) >> 1;
      if (!isBefore(due, heap[parent])) break;
      heap[i] = heap[parent] ?? due;
      heap[parent] = due;
      i = parent;
    }
  }

  private pop(): Due | undefined {
    const { heap } = this;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    heap[0] = last;
    for (let i = 0; ;) {
      const left = 2 * i + 1;
      const child = isBefore(heap[left + 1], heap[left]) ? left + 1 : left;
      const candidate = heap[child];
      if (candidate === undefined || !isBefore(candidate, last)) break;
      heap[i] = candidate;
      heap[child] = last;
      i = child;
    }
    return first;
  }
}

function isBefore(a: Due | undefined, b: Due | undefined): boolean {
  if (a === undefined || b === undefined) return a !== undefined;
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
