/**
 * One observation of a session is prepared at a time and one waits, the newest: a robot that sends
 * faster than its pictures are decoded loses the ones in between, and decoding never falls behind.
 */
export class Intake<T> {
  private readonly prepare: (item: T) => Promise<void>;
  private readonly onReplaced: (item: T) => void;
  private busy = false;
  private next: T | undefined;

  /** @param prepare never rejects. */
  constructor(prepare: (item: T) => Promise<void>, onReplaced: (item: T) => void) {
    this.prepare = prepare;
    this.onReplaced = onReplaced;
  }

  offer(item: T): void {
    if (!this.busy) {
      void this.work(item);
      return;
    }
    if (this.next !== undefined) this.onReplaced(this.next);
    this.next = item;
  }

  /** Takes out what waits. */
  clear(): T | undefined {
    return this.take();
  }

  private async work(first: T): Promise<void> {
    this.busy = true;
    for (let item: T | undefined = first; item !== undefined; item = this.take()) {
      await this.prepare(item);
    }
    this.busy = false;
  }

  private take(): T | undefined {
    const item = this.next;
    this.next = undefined;
    return item;
  }
}
