/** Questions on end that come to nothing before a path counts as dead. */
const QUESTIONS = 3;
/** And so long without a sign, ms: a robot that asks with short deadlines has waited for nothing yet. */
const AT_LEAST_MS = 2_000;

/**
 * Tells a path that has gone dark, which neither end is told of, from one that is slow: question after
 * question comes to nothing, no frame arrives, and what waits to leave does not move either.
 */
export class Silence {
  private since: number;
  private questions = 0;
  private unsent = 0;

  /** @param now ms, as everywhere here. */
  constructor(now: number) {
    this.since = now;
  }

  /** A frame arrived. */
  heard(now: number): void {
    this.since = now;
    this.questions = 0;
  }

  /**
   * A question was not answered in time, or could not be sent.
   * @param unsent bytes that wait to leave.
   * @returns whether the path counts as dead; said again only after as many questions more.
   */
  unanswered(now: number, unsent: number): boolean {
    const moves = unsent < this.unsent;
    this.unsent = unsent;
    if (moves) this.heard(now);
    this.questions += 1;
    if (this.questions < QUESTIONS || now - this.since < AT_LEAST_MS) return false;
    this.questions = 0;
    return true;
  }
}
