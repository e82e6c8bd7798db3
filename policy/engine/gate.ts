/**
 * Memory shared between an engine and its worker thread. A thread that is torn down while it is inside
 * ONNX Runtime aborts the whole process, so whoever ends a worker waits until it is outside, and the
 * worker goes in again only while the engine is wanted.
 */
export class Gate {
  readonly memory: SharedArrayBuffer;
  private readonly state: Int32Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(8)) {
    this.memory = memory;
    this.state = new Int32Array(memory);
  }

  /** Worker: about to call the runtime. False: the engine is abandoned, do not. */
  enter(): boolean {
    Atomics.store(this.state, BUSY, 1);
    if (Atomics.load(this.state, ABANDONED) === 0) return true;
    this.leave();
    return false;
  }

  /** Worker: outside the runtime again. */
  leave(): void {
    Atomics.store(this.state, BUSY, 0);
    Atomics.notify(this.state, BUSY);
  }

  /** Engine: no further call is to be made. */
  abandon(): void {
    Atomics.store(this.state, ABANDONED, 1);
  }

  /** Engine: blocks this thread until the worker is outside the runtime, or for `limitMs` at most. */
  waitOutside(limitMs: number): void {
    Atomics.wait(this.state, BUSY, 1, limitMs);
  }
}

const BUSY = 0;
const ABANDONED = 1;
