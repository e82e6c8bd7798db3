export interface MemoryWatchOptions {
  /** Resident memory that the process may use, bytes. */
  readonly budget: number;
  /** Resident memory now, bytes. */
  readonly resident: () => number;
  /** Readings in a row over the budget that count: a single one may be garbage not yet collected. */
  readonly readings: number;
  /** Called once. */
  readonly onOver: (bytes: number) => void;
}

/** Tells when a process has outgrown its budget for good, so that it can be replaced in order. */
export class MemoryWatch {
  private readonly options: MemoryWatchOptions;
  private over = 0;
  private told = false;

  constructor(options: MemoryWatchOptions) {
    this.options = options;
  }

  /** Takes a reading. */
  read(): void {
    const { budget, resident, readings, onOver } = this.options;
    const bytes = resident();
    this.over = bytes > budget ? this.over + 1 : 0;
    if (this.over < readings || this.told) return;
    this.told = true;
    onOver(bytes);
  }
}
