/** What became of a reasoning: it is on record, or its tokens were counted. */
export interface ReasoningMarks {
  recorded: boolean;
  counted: boolean;
}

/** Reasonings that are remembered: more than rows of a session are on their way at once. */
const REMEMBERED = 64;

/** Which reasonings of a session are on record, and which were counted with a chunk: each once. */
export class ReasoningRecords {
  private readonly known = new Map<string, ReasoningMarks>();

  of(id: string): Readonly<ReasoningMarks> {
    return this.marks(id);
  }

  /**
   * Marks a reasoning while that is written, so that what goes out meanwhile does not write it again.
   * @throws as `write` does; then it is as it was.
   */
  async mark(
    id: string,
    marks: readonly (keyof ReasoningMarks)[],
    write: () => Promise<void>,
  ): Promise<void> {
    const known = this.marks(id);
    const fresh = marks.filter((mark) => !known[mark]);
    for (const mark of fresh) known[mark] = true;
    try {
      await write();
    } catch (error) {
      for (const mark of fresh) known[mark] = false;
      throw error;
    }
  }

  private marks(id: string): ReasoningMarks {
    const known = this.known.get(id) ?? { recorded: false, counted: false };
    this.known.set(id, known);
    const oldest = this.known.keys().next();
    if (this.known.size > REMEMBERED && oldest.done !== true) this.known.delete(oldest.value);
    return known;
  }
}
