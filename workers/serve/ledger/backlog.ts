/** Marks are set no closer together than this, ms. */
const MARK_MS = 1_000;

/** How much of the spool has not reached the sink, and since when. */
export class Backlog {
  private readonly now: () => number;
  private written: number;
  private settled = 0;
  /** When what lies beyond so many bytes was written, oldest first; the oldest is of what waits first. */
  private readonly marks: { readonly beyond: number; readonly at: number }[] = [];

  /**
   * @param left bytes that an earlier process left, the oldest of them `leftMs` ago
   * @param now monotonic clock, ms
   */
  constructor(left: number, leftMs: number, now: () => number) {
    this.now = now;
    this.written = left;
    if (left > 0) this.marks.push({ beyond: 0, at: now() - leftMs });
  }

  wrote(bytes: number): void {
    const at = this.now();
    if (this.bytes === 0) this.marks.length = 0;
    const last = this.marks.at(-1);
    if (last === undefined || at - last.at >= MARK_MS) {
      this.marks.push({ beyond: this.written, at });
    }
    this.written += bytes;
  }

  settle(bytes: number): void {
    this.settled += bytes;
    while ((this.marks[1]?.beyond ?? Infinity) <= this.settled) this.marks.shift();
  }

  get bytes(): number {
    return this.written - this.settled;
  }

  /** How long the oldest record has waited, to a second; 0 when none does. */
  get ageMs(): number {
    const oldest = this.marks[0];
    return oldest === undefined || this.bytes === 0 ? 0 : this.now() - oldest.at;
  }
}
