import type { NewJobEvent } from '@armature/db';

export interface ProgressOptions {
  readonly write: (event: NewJobEvent, progress: number) => Promise<void>;
  /** A monotonic clock, seconds. */
  readonly now: () => number;
  /** A line that could not be written: told, so that a reason to stop is not lost. */
  readonly onFailed: (error: unknown) => void;
}

/** Seconds between two lines. */
const EVERY_S = 1;

/**
 * Progress of the parts that only call back: a line a second, none while the one before is still
 * being written. Shares are of the whole job.
 */
export class ProgressLines {
  private readonly options: ProgressOptions;
  private lastAt = Number.NEGATIVE_INFINITY;
  private writing: Promise<void> | null = null;

  constructor(options: ProgressOptions) {
    this.options = options;
  }

  /** @param share of the whole job, 0 to 1. */
  report(share: number, message: string): void {
    const now = this.options.now();
    if (this.writing !== null || now - this.lastAt < EVERY_S) return;
    this.lastAt = now;
    this.writing = this.options
      .write({ kind: 'progress', message, data: { share } }, share)
      .catch(this.options.onFailed)
      .finally(() => {
        this.writing = null;
      });
  }

  /** Waits for a line that is being written. */
  async idle(): Promise<void> {
    await this.writing;
  }
}
