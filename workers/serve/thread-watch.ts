/** Whether the threads are there that nothing is computed without: engines, and what makes their graphs. */
export class ThreadWatch {
  private error: Error | undefined;
  private tell: (error: Error) => void = () => undefined;

  /** Notes that one has ended; what follows from that of others is not news. */
  readonly lost = (error: Error): void => {
    if (this.error !== undefined) return;
    this.error = error;
    this.tell(error);
  };

  get isWhole(): boolean {
    return this.error === undefined;
  }

  /** @param tell called once: when the first is lost, or now where one has been already. */
  whenLost(tell: (error: Error) => void): void {
    this.tell = tell;
    if (this.error !== undefined) tell(this.error);
  }
}
