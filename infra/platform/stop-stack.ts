/** What has been started, to be stopped in the opposite order, once, whatever fails on the way. */
export class StopStack {
  readonly #stops: (() => Promise<void> | void)[] = [];
  #stopped: Promise<void> | undefined;

  push(stop: () => Promise<void> | void): void {
    this.#stops.push(stop);
  }

  /** @throws AggregateError when one or more could not be stopped; the others were. */
  stop(): Promise<void> {
    this.#stopped ??= this.#run();
    return this.#stopped;
  }

  async #run(): Promise<void> {
    const failures: unknown[] = [];
    for (let stop = this.#stops.pop(); stop !== undefined; stop = this.#stops.pop()) {
      try {
        await stop();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'not everything could be stopped');
  }
}
