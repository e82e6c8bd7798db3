/**
 * Work that is asked for again and again: one at a time, and whoever asks meanwhile waits for the same next
 * one, so that nothing piles up while the database is slow or away.
 */
export class Turns {
  private readonly work: () => Promise<void>;
  private running: Promise<void> | undefined;
  private next: Promise<void> | undefined;

  /** @param work never rejects. */
  constructor(work: () => Promise<void>) {
    this.work = work;
  }

  /** Resolves once a turn is over that began after this was called. */
  ask(): Promise<void> {
    if (this.running === undefined) return this.begin();
    this.next ??= this.running.then(() => {
      this.next = undefined;
      return this.begin();
    });
    return this.next;
  }

  /** Resolves once none is under way or waited for. */
  async idle(): Promise<void> {
    await (this.next ?? this.running);
  }

  private begin(): Promise<void> {
    this.running = this.work().finally(() => {
      this.running = undefined;
    });
    return this.running;
  }
}
